/* Stands before the C library of a server (LD_PRELOAD): while the file $SLOW_DISK_FLAG is there, what is written to files
 * below $SLOW_DISK_FOLDER waits. So a disk that takes nothing for some time can be had without root and without a
 * disk. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/uio.h>
#include <unistd.h>

static int is_slow(int fd) {
	const char *folder = getenv("SLOW_DISK_FOLDER"), *flag = getenv("SLOW_DISK_FLAG");
	char link[64], path[PATH_MAX];
	if (!folder || !flag || access(flag, F_OK) != 0) return 0;
	snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
	ssize_t length = readlink(link, path, sizeof path);
	size_t prefix = strlen(folder);
	return length > 0 && (size_t)length > prefix && memcmp(path, folder, prefix) == 0;
}

static void wait_for_disk(int fd) {
	while (is_slow(fd)) usleep(20000);
}

ssize_t write(int fd, const void *bytes, size_t length) {
	static ssize_t (*next)(int, const void *, size_t);
	if (!next) *(void **)&next = dlsym(RTLD_NEXT, "write");
	wait_for_disk(fd);
	return next(fd, bytes, length);
}

ssize_t writev(int fd, const struct iovec *slices, int count) {
	static ssize_t (*next)(int, const struct iovec *, int);
	if (!next) *(void **)&next = dlsym(RTLD_NEXT, "writev");
	wait_for_disk(fd);
	return next(fd, slices, count);
}
