//! How others reach this machine.

use super::{
    super::{Question, host::Reach},
    stun,
};

pub(super) fn read(question: &Question<'_>) -> Reach {
    let settings = question.settings;
    // The server that pages are told of; any would do.
    let mut applications = settings.application.values();
    let server = applications
        .find_map(|application| application.ice_server.uris().find_map(stun::server_of));
    let seen_as = match server {
        Some(server) if question.online && question.root.is_live() => {
            Some(stun::ask(server, stun::PATIENCE))
        }
        _ => None,
    };
    Reach {
        online: question.online,
        bind: Some(settings.bind),
        advertise: settings.engine.advertise().to_vec(),
        seen_as,
    }
}
