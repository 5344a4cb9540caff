//! Proves: the questions for user and password are answered with the very text that FFmpeg sends, for
//! `authmod=adobe` and `authmod=llnw`, wrong ones are told apart, and no password is ever shown.

use proptest::prelude::*;
use shardcast_core::rtmp::{
    PublishClient, PublishConfig, PublishError, PublishOutput, RtmpUrl, ServerConfig, ServerOutput,
    ServerSession,
    client::{Challenge, Login},
};

const NONCE: u32 = 0xdead_beef;

/// What a client that says `login` tells a server that refuses its `connect` with these words, and
/// what becomes of it.
fn refuse(url: &RtmpUrl, login: Login, words: &str) -> (String, Result<Challenge, PublishError>) {
    let mut client = PublishClient::logging_in(url, PublishConfig::default(), login);
    let mut server = ServerSession::new(ServerConfig {
        asks_on_connect: true,
        ..ServerConfig::default()
    });
    server.handle(&client.start()).unwrap();
    let mut told = String::new();
    loop {
        let output = server.poll().expect("an answer");
        match output {
            ServerOutput::Send(bytes) => {
                if let Err(error) = client.handle(&bytes) {
                    return (told, Err(error));
                }
            }
            ServerOutput::Connect {
                application,
                tc_url,
            } => {
                assert!(tc_url.ends_with(&application), "{tc_url} {application}");
                told = application;
                server.reject_connect("NetConnection.Connect.Rejected", words);
            }
            other => panic!("{other:?}"),
        }
        while let Some(output) = client.poll() {
            match output {
                PublishOutput::Send(bytes) => server.handle(&bytes).unwrap(),
                PublishOutput::LogIn(challenge) => return (told, Ok(challenge)),
                other => panic!("{other:?}"),
            }
        }
    }
}

fn url(path: &str) -> RtmpUrl {
    RtmpUrl::parse(&format!("rtmp://alice:secret@host/{path}")).unwrap()
}

const NEED: &str = "[ AccessManager.Reject ] : [ code=403 need auth; authmod=MODE ] : ";
const ADOBE: &str = "[ AccessManager.Reject ] : [ authmod=adobe ] : ?reason=needauth&user=alice\
                     &salt=c2FsdA==&challenge=Y2hhbA==";
const LLNW: &str = "[ AccessManager.Reject ] : [ authmod=llnw ] : ?reason=needauth&user=alice\
                    &nonce=N0nce=";

#[test]
fn both_ways_to_log_in_are_answered_as_ffmpeg_answers_them() {
    let opaque = format!("{ADOBE}&opaque=b3BhcXVl");
    for (path, mode, question, answer) in [
        (
            "live/key",
            "adobe",
            opaque.as_str(),
            "live?authmod=adobe&user=alice&challenge=deadbeef&response=RfRw8WCErXebPhSO5LMPrg==\
             &opaque=b3BhcXVl",
        ),
        (
            "live/key",
            "adobe",
            ADOBE,
            "live?authmod=adobe&user=alice&challenge=deadbeef&response=MCWHIP3WiYyqiRM1i3DByA==",
        ),
        (
            "live/key",
            "llnw",
            LLNW,
            "live?authmod=llnw&user=alice&nonce=N0nce=&cnonce=deadbeef&nc=00000001\
             &response=4a5848e816ca52ca4c4854aa8e2ac324",
        ),
        (
            "live/inst/key",
            "llnw",
            LLNW,
            "live/inst?authmod=llnw&user=alice&nonce=N0nce=&cnonce=deadbeef&nc=00000001\
             &response=5cea6818ae988954381ced4d3ce30608",
        ),
    ] {
        let url = url(path);
        let (told, first) = refuse(&url, Login::default(), &NEED.replace("MODE", mode));
        assert_eq!(told, url.application());
        let login = Login::answer(&url, &first.unwrap(), NONCE);
        let (told, second) = refuse(&url, login, question);
        assert_eq!(
            told,
            format!("{}?authmod={mode}&user=alice", url.application())
        );
        let login = Login::answer(&url, &second.unwrap(), NONCE);
        let (told, third) = refuse(&url, login, question);
        assert_eq!(told, answer);
        // Asked once more, it has nothing better to say.
        assert_eq!(third, Err(PublishError::WrongPassword));
    }
}

#[test]
fn what_is_wrong_with_user_or_password_is_told_and_does_not_heal() {
    let with = |mode: &str, reason: &str| {
        format!("[ AccessManager.Reject ] : [ authmod={mode} ] : ?reason={reason}&opaque=x")
    };
    let named = || {
        let url = url("live/key");
        let (_, challenge) = refuse(&url, Login::default(), &NEED.replace("MODE", "adobe"));
        Login::answer(&url, &challenge.unwrap(), NONCE)
    };
    let without = RtmpUrl::parse("rtmp://host/live/key").unwrap();
    for (url, login, words, error) in [
        (
            url("live/key"),
            named(),
            with("adobe", "authfailed"),
            PublishError::WrongPassword,
        ),
        (
            url("live/key"),
            named(),
            with("llnw", "authfailed"),
            PublishError::WrongPassword,
        ),
        (
            url("live/key"),
            named(),
            with("adobe", "nosuchuser"),
            PublishError::UnknownUser,
        ),
        (
            without,
            Login::default(),
            NEED.replace("MODE", "adobe"),
            PublishError::LoginWanted,
        ),
    ] {
        let (_, seen) = refuse(&url, login, &words);
        assert_eq!(seen, Err(error.clone()), "{words}");
        assert!(
            !error.retryable() && !error.to_string().contains("secret"),
            "{error}"
        );
    }
    // A way to log in that nobody speaks, a name asked for twice, and a question without an end.
    for (login, words) in [
        (Login::default(), NEED.replace("MODE", "kerberos")),
        (named(), NEED.replace("MODE", "adobe")),
        (named(), format!("{ADOBE}{}", "x".repeat(2_000))),
    ] {
        let (_, seen) = refuse(&url("live/key"), login, &words);
        assert!(
            matches!(seen, Err(PublishError::Unauthorised { .. })),
            "{seen:?}"
        );
    }
}

proptest! {
    #[test]
    fn no_question_makes_it_panic_or_show_the_password(words in "(.{0,20}authmod=(adobe|llnw).{0,20}(\\?reason=needauth)?[&=a-z]{0,40}){0,2}") {
        let url = url("live/key");
        let (_, seen) = refuse(&url, Login::default(), &words);
        let login = seen.as_ref().ok().map(|challenge| Login::answer(&url, challenge, NONCE));
        let shown = format!("{seen:?} {login:?}");
        prop_assert!(!shown.contains("secret"), "{shown}");
    }
}
