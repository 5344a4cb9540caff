//! The delay is exactly what the documentation says.

use crate::coded::round_trip;

#[test]
fn an_impulse_comes_where_it_was() {
    for place in [3_000, 5_120, 6_143, 7_777] {
        let mut signal = vec![0.0; 12 * 1024];
        signal[place] = 0.9;
        for right in [None, Some(vec![0.0; 12 * 1024])] {
            // The first frame is left out: it decodes to the 1024 samples before the first.
            let [left, _] = round_trip(128_000, &signal, right.as_deref());
            let magnitude = |n: &usize| (left[*n].abs() * 1e6) as u32;
            assert_eq!((0..left.len()).max_by_key(magnitude), Some(place));
        }
    }
}
