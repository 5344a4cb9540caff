//! Messages over data channels: they reach whom the settings say, whole and in order, also the large ones of the
//! SDK; limits are told to those who meet them; and who reads nothing or floods disturbs neither media nor others.

use shardcast_link::{
    Command, DataChannels, DataFromViewers, DataMessage, DataSender, Event, WantedBroadcast,
};

use crate::sim::{
    FaultMode, World, broadcast,
    client::{Client, Sends},
    viewer::Viewer,
};

/// A live show with so many viewers whose data channels stand.
fn show(viewers: u16, from_viewers: DataFromViewers) -> World {
    show_with(
        viewers,
        DataChannels {
            from_viewers,
            ..DataChannels::default()
        },
    )
}

fn show_with(viewers: u16, data: DataChannels) -> World {
    let mut world = World::with_codecs(1_000);
    world.want(&[("one", FaultMode::Well)]);
    let wanted = WantedBroadcast {
        data,
        ..WantedBroadcast::new(broadcast())
    };
    world.command(Command::Want { broadcast: wanted });
    let client = Client::new(world.now, 4000, Sends::default());
    world.publish("first", client);
    world.run_ms(3_000);
    for port in 6000..6000 + viewers {
        watch(&mut world, port);
    }
    let is_open = |world: &World| {
        let mut viewers = world.viewers.iter();
        viewers.all(|viewer| viewer.messages.is_open())
    };
    let open = world.run_until(2_000, is_open);
    assert_eq!(open, data.is_enabled || viewers == 0);
    // Until the shard has heard that they are.
    world.run_ms(100);
    world
}

fn watch(world: &mut World, port: u16) {
    let viewer = Viewer::new(world.now, port);
    world.watch(&format!("viewer-{port}"), viewer);
}

fn texts(world: &World, place: usize) -> Vec<&str> {
    world.viewers[place].messages.texts()
}

#[test]
fn each_message_reaches_whom_the_settings_say_and_nobody_twice() {
    for (from_viewers, to_publisher, to_viewer) in [
        (DataFromViewers::All, vec!["hi"], vec!["news", "hi"]),
        (DataFromViewers::Publisher, vec!["hi"], vec!["news"]),
        (DataFromViewers::None, vec![], vec!["news"]),
    ] {
        let mut world = show(3, from_viewers);
        world.clients[0].messages.text("news");
        world.run_ms(200);
        world.viewers[1].messages.text("hi");
        world.run_ms(200);
        assert_eq!(world.clients[0].messages.texts(), to_publisher);
        for place in [0, 2] {
            assert_eq!(texts(&world, place), to_viewer, "{from_viewers:?}");
        }
        let sender = texts(&world, 1);
        assert_eq!(sender[0], "news");
        match from_viewers {
            DataFromViewers::None => assert!(sender[1].contains("DATA_REFUSED"), "{sender:?}"),
            _ => assert_eq!(sender.len(), 1),
        }
    }
}

#[test]
fn a_text_of_rest_reaches_the_publisher_and_all_viewers() {
    let mut world = show(2, DataFromViewers::None);
    world.command(Command::Data {
        broadcast: broadcast(),
        text: "from the backend".into(),
    });
    world.run_ms(200);
    assert_eq!(world.clients[0].messages.texts(), ["from the backend"]);
    for place in [0, 1] {
        assert_eq!(texts(&world, place), ["from the backend"]);
    }
}

/// What control was told of messages.
fn reported(world: &World) -> Vec<(DataSender, DataMessage)> {
    let events = world.events.iter();
    let told = events.filter_map(|event| match event {
        Event::DataMessage {
            sender, message, ..
        } => Some((*sender, message.clone())),
        _ => None,
    });
    told.collect()
}

#[test]
fn control_is_told_each_message_of_a_client_that_is_taken_and_no_other() {
    let mut world = show_with(
        1,
        DataChannels {
            from_viewers: DataFromViewers::Publisher,
            reported: true,
            ..DataChannels::default()
        },
    );
    world.clients[0].messages.text("news");
    world.run_ms(200);
    world.viewers[0].messages.binary(&[0xff, 0]);
    world.command(Command::Data {
        broadcast: broadcast(),
        text: "from the backend".into(),
    });
    world.run_ms(200);
    let news = DataMessage::Text {
        text: "news".into(),
    };
    let bytes = DataMessage::Binary {
        base64: "/wA=".into(),
    };
    let all = [(DataSender::Publisher, news), (DataSender::Viewer, bytes)];
    assert_eq!(reported(&world), all);
    // What is refused is not told, and what nobody wants to know is not either.
    let data = DataChannels {
        from_viewers: DataFromViewers::None,
        reported: true,
        ..DataChannels::default()
    };
    for data in [data, DataChannels::default()] {
        let wanted = WantedBroadcast {
            data,
            ..WantedBroadcast::new(broadcast())
        };
        world.command(Command::Want { broadcast: wanted });
        world.viewers[0].messages.text("more");
        world.run_ms(200);
        assert_eq!(reported(&world).len(), 2, "{data:?}");
    }
}

#[test]
fn what_is_sent_before_a_channel_is_acknowledged_waits_for_it() {
    let mut world = show(1, DataFromViewers::None);
    let text = |text: &str| Command::Data {
        broadcast: broadcast(),
        text: text.into(),
    };
    world.command(text("before it came"));
    watch(&mut world, 6100);
    assert!(world.run_until(2_000, |world| world.viewers[1].is_connected));
    // The shard hears that a millisecond later, and of the channel after that.
    world.run_ms(1);
    assert!(!world.viewers[1].messages.is_open());
    world.command(text("while it connects"));
    assert!(world.run_until(2_000, |world| world.viewers[1].messages.is_open()));
    world.command(text("while it acknowledges"));
    world.run_ms(500);
    assert_eq!(
        texts(&world, 1),
        ["while it connects", "while it acknowledges"]
    );
}

#[test]
fn where_they_are_off_viewers_are_offered_no_channel_and_the_publisher_is_told() {
    let mut world = show_with(
        1,
        DataChannels {
            is_enabled: false,
            ..DataChannels::default()
        },
    );
    world.clients[0].messages.text("news");
    world.run_ms(200);
    let told = world.clients[0].messages.texts();
    assert!(told.len() == 1 && told[0].contains("are off"), "{told:?}");
}

#[test]
fn large_messages_of_the_sdk_arrive_whole_both_ways_and_media_goes_on() {
    let mut world = show(3, DataFromViewers::All);
    let photo: Vec<u8> = (0..1_000_000_u32).map(|n| (n >> 3) as u8).collect();
    world.clients[0].messages.large(77, &photo);
    world.viewers[1].messages.large(88, &photo[..100_000]);
    let whole = |world: &World| {
        let of = |place: usize| world.viewers[place].messages.large_received();
        let others = [0, 2].map(|place| of(place).len());
        of(1).len() == 1 && others == [2, 2]
    };
    assert!(world.run_until(15_000, whole));
    assert_eq!(world.viewers[1].messages.large_received(), [&photo[..]]);
    assert_eq!(
        world.clients[0].messages.large_received(),
        [&photo[..100_000]]
    );
    for viewer in &world.viewers {
        let numbers: Vec<u64> = viewer.video().map(|packet| packet.sequence).collect();
        assert!(numbers.windows(2).all(|pair| pair[1] == pair[0] + 1));
    }
}

#[test]
fn who_comes_in_the_middle_of_a_large_message_is_sent_none_of_it() {
    let mut world = show(1, DataFromViewers::All);
    world.clients[0].messages.large(77, &[7; 600_000]);
    world.run_ms(300);
    watch(&mut world, 6100);
    let all = |world: &World| world.viewers[0].messages.large_received().len() == 1;
    assert!(world.run_until(10_000, all));
    world.clients[0].messages.text("afterwards");
    world.run_ms(500);
    let late = &world.viewers[1].messages;
    assert!(late.is_open());
    assert_eq!(late.received, [(false, b"afterwards".to_vec())]);
}

#[test]
fn a_viewer_that_floods_is_told_and_the_others_get_what_it_may_send() {
    let mut world = show(2, DataFromViewers::All);
    for n in 0..1_000 {
        world.viewers[0].messages.text(&format!("spam {n}"));
    }
    world.run_ms(3_000);
    let arrived = texts(&world, 1).len();
    assert!((50..=100).contains(&arrived), "{arrived} of 1,000");
    let told = texts(&world, 0);
    assert!((1..=4).contains(&told.len()), "told {} times", told.len());
    assert!(told[0].contains("DATA_REFUSED") && told[0].contains("too many messages"));
    // Others may send all the same.
    world.clients[0].messages.text("news");
    world.run_ms(200);
    assert_eq!(texts(&world, 1).last(), Some(&"news"));
}

#[test]
fn a_message_that_is_too_long_for_so_many_is_refused_at_its_header() {
    let mut world = show(2, DataFromViewers::All);
    world.clients[0].messages.large(5, &vec![1; 5 << 20]);
    world.run_ms(3_000);
    let told = world.clients[0].messages.texts();
    assert!(told[0].contains("over 4 MiB"), "{told:?}");
    assert!(world.viewers[0].messages.received.is_empty());
}

#[test]
fn a_viewer_that_reads_nothing_delays_nobody_and_is_told_what_it_lost() {
    let mut world = show(2, DataFromViewers::None);
    world.viewers[0].dead = true;
    let mut sent = 0;
    for _ in 0..40 {
        for _ in 0..4 {
            world.clients[0].messages.text(&format!("{sent:0>8000}"));
            sent += 1;
        }
        world.run_ms(160);
    }
    world.run_ms(500);
    assert_eq!(texts(&world, 1).len(), sent);
    let status = world.latest().broadcasts[0].data;
    assert_eq!((status.received, status.refused), (sent as u64, 0));
    world.viewers[0].dead = false;
    let caught_up = |world: &World| {
        let told = texts(world, 0);
        told.last() == texts(world, 1).last()
    };
    assert!(world.run_until(20_000, caught_up));
    let told = texts(&world, 0);
    assert!(told.iter().any(|text| text.contains("DATA_LOST")));
}
