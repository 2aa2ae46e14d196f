//! The simulated handset, by itself: what befalls it, and that it is the same each time (R36 to R46).

use std::sync::Arc;
use std::time::Duration;

use everline_agent::device::simulated::{Diverted, Incoming, Simulated, SimulatedConfig};
use everline_agent::device::{
    Battery, CallEnd, CallId, CallState, Device, DeviceError, Diversion, DivertReason, Event, Mode,
    Number,
};
use everline_agent::gsm::sms;
use everline_agent::gsm::tpdu::{Outcome, Tpdu};
use tokio::sync::broadcast::Receiver;
use tokio::time::{Instant, timeout};

const SECOND: Duration = Duration::from_secs(1);
const HOUR: Duration = Duration::from_secs(3_600);

fn handset(seed: u64) -> Arc<Simulated> {
    Simulated::new(SimulatedConfig {
        seed,
        ..SimulatedConfig::default()
    })
}

fn number(text: &str) -> Number {
    Number::parse(text).unwrap()
}

/// The next thing that happens. Time is paused, so a day is no time.
async fn next(events: &mut Receiver<Event>) -> Event {
    let day = HOUR * 24;
    timeout(day, events.recv())
        .await
        .expect("nothing happens")
        .unwrap()
}

async fn next_state(events: &mut Receiver<Event>) -> CallState {
    match next(events).await {
        Event::Call(call) => call.state,
        other => panic!("no call: {other:?}"),
    }
}

/// All states of a call to its end.
async fn states(events: &mut Receiver<Event>) -> Vec<CallState> {
    let mut states = Vec::new();
    loop {
        let state = next_state(events).await;
        states.push(state);
        if let CallState::Ended(_) = state {
            return states;
        }
    }
}

/// What becomes of an SMS: what the radio answers, then what the status reports say.
async fn outcomes(handset: &Simulated, to: &str) -> Vec<Outcome> {
    let mut events = handset.events();
    let tpdu = sms::compose(to, "Hello", 0, true).unwrap().remove(0);
    let reference = handset.send_sms(&tpdu).await.unwrap();
    let mut outcomes = Vec::new();
    while !matches!(
        outcomes.last(),
        Some(Outcome::Delivered | Outcome::Failed(_))
    ) {
        let Event::Delivery(report) = next(&mut events).await else {
            panic!("no report")
        };
        let Ok(Tpdu::StatusReport(report)) = Tpdu::decode(&report) else {
            panic!("no report")
        };
        assert_eq!(
            (report.reference, report.to.shown().as_str()),
            (reference, to)
        );
        outcomes.push(report.outcome());
    }
    outcomes
}

#[tokio::test(start_paused = true)]
async fn r36_the_battery_drains_and_charges_and_nobody_wakes_for_it() {
    let handset = handset(1);
    let mut events = handset.events();
    let battery = |percent, charging| Battery { percent, charging };
    assert_eq!(handset.battery().await, Ok(battery(80, false)));
    tokio::time::advance(HOUR * 12).await;
    assert_eq!(handset.battery().await, Ok(battery(55, false)));
    assert!(
        timeout(HOUR * 12, events.recv()).await.is_err(),
        "nobody wanted to hear of it"
    );
    handset.plug(true);
    assert_eq!(next(&mut events).await, Event::Battery(battery(30, true)));
    let reporting = handset.report_levels();
    let mut percent = 30;
    while percent < 100 {
        if let Event::Battery(told) = next(&mut events).await {
            percent += 1;
            assert_eq!(told, battery(percent, true), "each percent is told");
        }
    }
    drop(reporting);
    while events.try_recv().is_ok() {}
    assert!(
        timeout(HOUR, events.recv()).await.is_err(),
        "nobody wants to hear of it any more"
    );
}

#[tokio::test(start_paused = true)]
async fn r37_r38_coverage_and_mode_are_told_when_they_change() {
    let handset = handset(1);
    let mut events = handset.events();
    let before = handset.coverage().await.unwrap();
    assert!((1..=5).contains(&before.bars) && before.dbm.is_some() && before.operator.is_some());
    handset.set_covered(false);
    let Event::Coverage(gone) = next(&mut events).await else {
        panic!()
    };
    assert_eq!(
        (gone.bars, gone.dbm, gone.technology, gone.operator),
        (0, None, "none", None)
    );
    handset.set_covered(true);
    assert_eq!(next(&mut events).await, Event::Coverage(before));
    assert!(handset.set_technology("nr"));
    assert!(!handset.set_technology("6g"));
    let Event::Coverage(now) = next(&mut events).await else {
        panic!()
    };
    assert_eq!(now.technology, "nr");
    handset.set_mode(Mode::Silent);
    assert_eq!(next(&mut events).await, Event::Mode(Mode::Silent));
    assert_eq!(handset.mode().await, Ok(Mode::Silent));
    handset.set_sim(false);
    assert_eq!(handset.sim().await, Ok(None));
    assert_eq!(
        handset.coverage().await.unwrap().bars,
        0,
        "no network takes a handset without a card"
    );
}

#[tokio::test(start_paused = true)]
async fn r40_a_call_goes_as_the_number_says() {
    use CallState::{Active, Dialing, Ended, Ringing};
    let cases: [(&str, &[CallState]); 4] = [
        (
            "600001",
            &[
                Dialing,
                Ringing,
                Active,
                Ended(CallEnd::Answered(20 * SECOND)),
            ],
        ),
        ("600002", &[Dialing, Ended(CallEnd::Busy)]),
        ("600003", &[Dialing, Ringing, Ended(CallEnd::NoAnswer)]),
        ("600004", &[Dialing, Ended(CallEnd::Failed)]),
    ];
    let handset = handset(1);
    let mut events = handset.events();
    for (to, expected) in cases {
        handset.dial(&number(to)).await.unwrap();
        assert_eq!(states(&mut events).await, expected, "{to}");
        assert_eq!(handset.calls().await, Ok(vec![]));
    }
    let refused = handset.dial(&number("600005")).await;
    assert!(
        matches!(refused, Err(DeviceError::Refused(_))),
        "{refused:?}"
    );
}

#[tokio::test(start_paused = true)]
async fn r40_a_call_is_one_at_a_time_and_ends_when_it_is_told_to() {
    let handset = handset(1);
    let mut events = handset.events();
    let call = handset.dial(&number("1")).await.unwrap();
    let second = handset.dial(&number("1")).await;
    assert!(matches!(second, Err(DeviceError::Busy(_))), "{second:?}");
    assert_eq!(handset.calls().await.unwrap()[0].id, call);
    while next_state(&mut events).await != CallState::Active {}
    tokio::time::advance(5 * SECOND).await;
    handset.hang_up(call).await.unwrap();
    let ended = CallState::Ended(CallEnd::Answered(5 * SECOND));
    assert_eq!(next_state(&mut events).await, ended);
    assert_eq!(handset.hang_up(call).await, Ok(()), "it has ended already");
    handset.dial(&number("1")).await.unwrap();
    handset.set_covered(false);
    assert_eq!(next_state(&mut events).await, CallState::Dialing);
    let Event::Coverage(_) = next(&mut events).await else {
        panic!()
    };
    assert_eq!(
        next_state(&mut events).await,
        CallState::Ended(CallEnd::Failed)
    );
    assert_eq!(
        handset.dial(&number("1")).await,
        Err(DeviceError::NoCoverage)
    );
}

#[tokio::test(start_paused = true)]
async fn r32_calls_come_and_are_taken_declined_or_missed() {
    let handset = handset(1);
    let mut events = handset.events();
    let ring = || match handset.receive_call(Some(number("+34600123456"))) {
        Incoming::Rings(call) => call,
        other => panic!("{other:?}"),
    };
    let taken = ring();
    assert_eq!(handset.receive_call(None), Incoming::Busy);
    assert!(handset.answer(taken));
    assert!(!handset.answer(taken), "it was taken already");
    let ended = states(&mut events).await;
    assert_eq!(
        ended.last(),
        Some(&CallState::Ended(CallEnd::Answered(20 * SECOND)))
    );
    handset.hang_up(ring()).await.unwrap();
    assert_eq!(
        states(&mut events).await.last(),
        Some(&CallState::Ended(CallEnd::Busy))
    );
    let began = Instant::now();
    ring();
    assert_eq!(
        states(&mut events).await.last(),
        Some(&CallState::Ended(CallEnd::NoAnswer))
    );
    assert_eq!(began.elapsed(), 25 * SECOND);
    let Incoming::Rings(withheld) = handset.receive_call(None) else {
        panic!()
    };
    let calls = handset.calls().await.unwrap();
    assert_eq!(
        (calls[0].id, &calls[0].number, calls[0].incoming),
        (withheld, &None, true)
    );
}

#[tokio::test(start_paused = true)]
async fn r41_diversions_are_kept_obeyed_and_cancelled() {
    let handset = handset(1);
    let mut events = handset.events();
    let to = |digits: &str, after_s| Diversion {
        to: number(digits),
        after_s,
    };
    let diverted = |reason, digits: &str| {
        Incoming::Diverted(Diverted {
            reason,
            to: number(digits),
        })
    };
    for (reason, digits) in DivertReason::ALL.into_iter().zip(["11", "12", "13", "14"]) {
        let after_s = (reason == DivertReason::NoAnswer).then_some(10);
        let wanted = to(digits, after_s);
        handset.divert(reason, Some(&wanted)).await.unwrap();
        assert_eq!(handset.diversion(reason).await, Ok(Some(wanted)));
    }
    assert_eq!(
        handset.receive_call(None),
        diverted(DivertReason::Unconditional, "11")
    );
    handset
        .divert(DivertReason::Unconditional, None)
        .await
        .unwrap();
    assert_eq!(
        handset.diversion(DivertReason::Unconditional).await,
        Ok(None)
    );
    let began = Instant::now();
    assert!(matches!(handset.receive_call(None), Incoming::Rings(_)));
    assert_eq!(
        handset.receive_call(None),
        diverted(DivertReason::Busy, "12")
    );
    assert_eq!(
        states(&mut events).await.last(),
        Some(&CallState::Ended(CallEnd::NoAnswer))
    );
    assert_eq!(
        began.elapsed(),
        10 * SECOND,
        "then the network takes it further"
    );
    handset.set_covered(false);
    assert_eq!(
        handset.receive_call(None),
        diverted(DivertReason::Unreachable, "14")
    );
    let unknown = handset.diversion(DivertReason::Busy).await;
    assert_eq!(
        unknown,
        Err(DeviceError::NoCoverage),
        "the network keeps them"
    );
}

#[tokio::test(start_paused = true)]
async fn r42_an_sms_is_delivered_late_or_never_as_the_number_says() {
    let handset = handset(1);
    assert_eq!(outcomes(&handset, "600001").await, [Outcome::Delivered]);
    assert_eq!(
        outcomes(&handset, "+34600003").await,
        [Outcome::Pending, Outcome::Delivered]
    );
    assert_eq!(
        outcomes(&handset, "600004").await,
        [Outcome::Failed("it expired")]
    );
    let refused = sms::compose("600005", "Hello", 0, true).unwrap().remove(0);
    assert!(matches!(
        handset.send_sms(&refused).await,
        Err(DeviceError::Refused(_))
    ));
    assert!(matches!(
        handset.send_sms(b"no TPDU").await,
        Err(DeviceError::Refused(_))
    ));
    handset.set_covered(false);
    assert_eq!(
        handset.send_sms(&refused).await,
        Err(DeviceError::NoCoverage)
    );
}

#[tokio::test(start_paused = true)]
async fn r42_coverage_that_is_lost_while_the_radio_has_a_message_is_told() {
    let handset = handset(1);
    let tpdu = sms::compose("600001", "Hello", 0, true).unwrap().remove(0);
    let (sent, ()) = tokio::join!(handset.send_sms(&tpdu), async {
        tokio::task::yield_now().await;
        handset.set_covered(false);
    });
    assert_eq!(sent, Err(DeviceError::NoCoverage));
}

#[tokio::test(start_paused = true)]
async fn r24_r25_r26_messages_come_and_wait_for_coverage() {
    let handset = handset(1);
    let mut events = handset.events();
    handset.set_covered(false);
    let long = "Hello ".repeat(40);
    assert_eq!(handset.receive_sms("BANK", &long), Ok(true));
    assert!(handset.receive_mms(b"From: +34600\r\n\r\n".to_vec()));
    assert!(handset.receive_email(b"From: a@b\r\n\r\n".to_vec()));
    let Event::Coverage(_) = next(&mut events).await else {
        panic!()
    };
    assert!(timeout(HOUR, events.recv()).await.is_err(), "they wait");
    handset.set_covered(true);
    let Event::Coverage(_) = next(&mut events).await else {
        panic!()
    };
    let mut parts = Vec::new();
    for number in 1..=2 {
        let Event::Sms(tpdu) = next(&mut events).await else {
            panic!()
        };
        let Ok(Tpdu::Deliver(deliver)) = Tpdu::decode(&tpdu) else {
            panic!()
        };
        assert_eq!(deliver.from.shown(), "BANK");
        let part = deliver.data.concatenation().unwrap();
        assert_eq!((part.number, part.total), (number, 2));
        parts.push((deliver.scheme, deliver.data));
    }
    assert_eq!(
        sms::join(parts.iter().map(|(scheme, data)| (*scheme, data))),
        long
    );
    assert!(matches!(next(&mut events).await, Event::Mms(_)));
    assert!(matches!(next(&mut events).await, Event::Email(_)));
    let fitting = (0..).find(|_| {
        handset.set_covered(false);
        !handset.receive_email(Vec::new())
    });
    assert_eq!(
        fitting,
        Some(128),
        "a network does not keep more for one handset"
    );
}

#[tokio::test(start_paused = true)]
async fn r24_a_handset_that_is_behind_takes_no_more_and_loses_nothing() {
    let handset = handset(1);
    let mut events = handset.events();
    let taken = (0..1_000).take_while(|_| handset.receive_email(b"From: a@b\r\n\r\n".to_vec()));
    let taken = taken.count();
    assert!((100..1_000).contains(&taken), "{taken}");
    for _ in 0..taken {
        assert!(matches!(next(&mut events).await, Event::Email(_)));
    }
    assert!(handset.receive_email(Vec::new()), "there is room again");
}

#[tokio::test(start_paused = true)]
async fn r43_r44_multimedia_messages_and_emails_are_taken_or_refused() {
    let handset = handset(1);
    let to = |to: &str| format!("From: me\r\nTo: {to}\r\n\r\nHello").into_bytes();
    let first = handset.send_mms(&to("+34600001/TYPE=PLMN")).await.unwrap();
    let second = handset.send_mms(&to("+34600001/TYPE=PLMN")).await.unwrap();
    assert_ne!(first, second);
    assert_eq!(
        handset.send_email(&to("Ada <ada@example.com>")).await,
        Ok(())
    );
    for refused in [
        handset.send_mms(&to("600001, 600005")).await.map(drop),
        handset.send_mms(&to("")).await.map(drop),
        handset.send_email(&to("refused@example.com")).await,
    ] {
        assert!(
            matches!(refused, Err(DeviceError::Refused(_))),
            "{refused:?}"
        );
    }
    handset.set_sim(false);
    assert_eq!(
        handset.send_email(&to("a@b")).await,
        Err(DeviceError::NoCoverage)
    );
}

#[tokio::test(start_paused = true)]
async fn r40_r42_what_goes_on_the_air_is_written_down_before_it_is_answered() {
    let directory = tempfile::tempdir().unwrap();
    let log = directory.path().join("air.log");
    let handset = Simulated::new(SimulatedConfig {
        log: Some(log.clone()),
        ..SimulatedConfig::default()
    });
    let tpdu = sms::compose("600001", "Hello", 0, true).unwrap().remove(0);
    handset.dial(&number("600002")).await.unwrap();
    assert_eq!(handset.send_sms(&tpdu).await, Ok(0));
    assert_eq!(handset.send_sms(&tpdu).await, Ok(1));
    let message = b"To: +34600001\r\nCc: a@b\r\n\r\n";
    handset.send_mms(message).await.unwrap();
    handset.send_email(message).await.unwrap();
    handset.dial(&number("600005")).await.unwrap_err();
    let written = std::fs::read_to_string(&log).unwrap();
    let hex: String = tpdu.iter().map(|octet| format!("{octet:02x}")).collect();
    let expected = format!(
        "dial 600002\nsms 600001 0 {hex}\nsms 600001 1 {hex}\nmms 26 +34600001 a@b\nemail 26 +34600001 a@b\n"
    );
    assert_eq!(written, expected);
    std::fs::remove_file(&log).unwrap();
    std::fs::create_dir(&log).unwrap();
    let failed = handset.send_sms(&tpdu).await;
    assert!(matches!(failed, Err(DeviceError::Failed(_))), "{failed:?}");
}

/// A while in the life of a handset: all that it tells, second by second.
async fn life(seed: u64) -> Vec<(u64, String)> {
    let handset = handset(seed);
    let mut events = handset.events();
    let _reporting = handset.report_levels();
    let mut told = Vec::new();
    for second in 0..600 {
        if second % 100 == 0 {
            handset.dial(&number("600777")).await.unwrap();
            handset.receive_sms("600123", "Hello").unwrap();
        }
        tokio::time::sleep(SECOND).await;
        if second % 100 == 99 {
            for call in handset.calls().await.unwrap() {
                handset.hang_up(call.id).await.unwrap();
            }
        }
        while let Ok(event) = events.try_recv() {
            // The clock in an SMS is the machine's.
            told.push(match event {
                Event::Sms(_) => (second, "sms".to_owned()),
                other => (second, format!("{other:?}")),
            });
        }
    }
    told
}

#[tokio::test(start_paused = true)]
async fn r36_r37_r40_the_same_seed_lives_the_same_life() {
    let first = life(7).await;
    assert_eq!(first, life(7).await);
    assert_ne!(first, life(8).await);
    assert!(first.len() > 20, "{first:?}");
}

#[tokio::test(start_paused = true)]
async fn r40_r42_many_who_act_at_once_are_served_one_after_the_other() {
    let handset = handset(1);
    let tpdu = sms::compose("600001", "Hello", 0, true).unwrap().remove(0);
    let all = (0..200).map(|_| {
        let (handset, tpdu) = (Arc::clone(&handset), tpdu.clone());
        tokio::spawn(async move {
            let called: Result<CallId, _> = handset.dial(&number("600001")).await;
            (called.is_ok(), handset.send_sms(&tpdu).await.unwrap())
        })
    });
    let all: Vec<_> = all.collect();
    let (mut calls, mut references) = (0, Vec::new());
    for one in all {
        let (called, reference) = one.await.unwrap();
        calls += usize::from(called);
        references.push(reference);
    }
    references.sort_unstable();
    references.dedup();
    assert_eq!(
        (calls, references.len()),
        (1, 200),
        "one call, and each message has its reference"
    );
}
