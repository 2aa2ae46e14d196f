//! TPDUs that other handsets and centres made, and any that can be thought of.

use proptest::prelude::*;

use super::super::alphabet;
use super::super::coding::Alphabet;
use super::super::sms::join;
use super::super::user_data::{Body, Concatenation, Element};
use super::*;

fn bytes(hex: &str) -> Vec<u8> {
    let digits: Vec<u8> = hex
        .chars()
        .filter_map(|c| c.to_digit(16))
        .map(|digit| u8::try_from(digit).unwrap())
        .collect();
    digits
        .chunks(2)
        .map(|pair| pair[0] << 4 | pair[1])
        .collect()
}

#[test]
fn r24_a_message_from_a_network_is_read() {
    let raw = bytes("040BC87238880900F10000993092516195800AE8329BFD4697D9EC37");
    let Tpdu::Deliver(deliver) = Tpdu::decode(&raw).unwrap() else {
        panic!()
    };
    assert_eq!(deliver.from.shown(), "27838890001");
    assert_eq!(
        (deliver.protocol, deliver.scheme, deliver.more),
        (0, 0, false)
    );
    assert_eq!(join([(deliver.scheme, &deliver.data)]), "hellohello");
    let at = deliver.at.moment().unwrap();
    assert_eq!((at.month() as u8, at.day(), at.hour()), (3, 29, 15));
    assert_eq!(Tpdu::Deliver(deliver).encode().unwrap(), raw);
}

#[test]
fn r42_a_message_to_a_network_is_written() {
    let raw = bytes("11000B916407281553F80000AA0AE8329BFD4697D9EC37");
    let submit = Submit {
        reject_duplicates: false,
        reply_path: false,
        report: false,
        reference: 0,
        to: Address::parse("+46708251358").unwrap(),
        protocol: 0,
        scheme: 0,
        validity: Validity::Relative(0xaa),
        data: UserData {
            header: Vec::new(),
            body: Body::Septets(alphabet::encode("hellohello").unwrap()),
        },
    };
    assert_eq!(submit.encode().unwrap(), raw);
    assert_eq!(Tpdu::decode(&raw), Ok(Tpdu::Submit(submit)));
}

#[test]
fn r42_a_status_report_says_what_became_of_a_message() {
    let raw = bytes("062A0B911346610089F6112062917314801120629173548000");
    let Tpdu::StatusReport(report) = Tpdu::decode(&raw).unwrap() else {
        panic!()
    };
    assert_eq!(
        (report.reference, report.to.shown().as_str()),
        (42, "+31641600986")
    );
    assert_eq!(report.outcome(), Outcome::Delivered);
    assert_eq!(report.encode(), raw);
    let outcomes = [
        (0x20, Outcome::Pending),
        (0x46, Outcome::Failed("it expired")),
        (0x7f, Outcome::Failed("it was tried in vain")),
        (0x80, Outcome::Failed("the network did not say why")),
    ];
    for (status, outcome) in outcomes {
        let report = StatusReport {
            status,
            ..report.clone()
        };
        assert_eq!(report.outcome(), outcome);
    }
}

#[test]
fn r24_what_is_no_tpdu_is_refused_by_its_fault() {
    let whole = bytes("11000B916407281553F80000AA0AE8329BFD4697D9EC37");
    for length in 0..whole.len() {
        assert_eq!(
            Tpdu::decode(&whole[..length]),
            Err(TpduError::Short),
            "{length}"
        );
    }
    let trailing = [whole.as_slice(), &[0]].concat();
    assert_eq!(Tpdu::decode(&trailing), Err(TpduError::Trailing));
    assert_eq!(Tpdu::decode(&[3]), Err(TpduError::Kind));
    // A header of five octets in user data of one septet, and in that of one octet.
    assert_eq!(
        Tpdu::decode(&bytes("41000481214300000105")),
        Err(TpduError::Header)
    );
    assert_eq!(
        Tpdu::decode(&bytes("41000481214300040105")),
        Err(TpduError::Header)
    );
    assert_eq!(
        Tpdu::decode(&bytes("410004812143000402000000")),
        Err(TpduError::Trailing)
    );
    assert_eq!(
        Tpdu::decode(&bytes("4100048121430000A1")),
        Err(TpduError::Long)
    );
    let mut long = Submit::take(1, &mut bytes("0004812143000000").as_slice()).unwrap();
    long.data.body = Body::Septets(vec![0; 161]);
    assert_eq!(long.encode(), Err(TpduError::Long));
}

#[test]
fn r24_parts_tell_of_which_message_they_are() {
    let of = |id, data: &[u8]| {
        let header = vec![
            Element {
                id: 0x24,
                data: vec![1],
            },
            Element {
                id,
                data: data.to_vec(),
            },
        ];
        UserData {
            header,
            body: Body::default(),
        }
        .concatenation()
    };
    let part = |reference| {
        Some(Concatenation {
            reference,
            total: 3,
            number: 2,
        })
    };
    assert_eq!(of(0, &[7, 3, 2]), part(7));
    assert_eq!(of(8, &[1, 7, 3, 2]), part(0x107));
    for wrong in [&[7, 3, 0][..], &[7, 3, 4], &[7, 0, 0], &[7, 3], &[]] {
        assert_eq!(of(0, wrong), None, "{wrong:?}");
    }
    assert_eq!(
        part(0x107).unwrap().element(),
        Element {
            id: 8,
            data: vec![1, 7, 3, 2]
        }
    );
}

prop_compose! {
    fn user_data(scheme: u8)(
        header in proptest::collection::vec((any::<u8>(), proptest::collection::vec(any::<u8>(), 0..5)), 0..4),
        body in proptest::collection::vec(any::<u8>(), 0..100),
    ) -> UserData {
        UserData {
            header: header.into_iter().map(|(id, data)| Element { id, data }).collect(),
            body: match Alphabet::of(scheme) {
                Alphabet::Gsm7 => Body::Septets(body.into_iter().map(|octet| octet & 0x7f).collect()),
                _ => Body::Octets(body),
            },
        }
    }
}

fn address() -> impl Strategy<Value = Address> {
    r"\+?[0-9][0-9*#]{0,19}|[A-Za-z]{1,11}".prop_map(|text| Address::parse(&text).unwrap())
}

fn validity() -> impl Strategy<Value = Validity> {
    prop_oneof![
        Just(Validity::Usual),
        any::<u8>().prop_map(Validity::Relative),
        any::<[u8; 7]>().prop_map(Validity::Enhanced),
        any::<[u8; 7]>().prop_map(|octets| Validity::Absolute(Timestamp(octets))),
    ]
}

prop_compose! {
    fn submit()(scheme in any::<u8>())(
        scheme in Just(scheme), flags in any::<[bool; 3]>(), reference in any::<u8>(), protocol in any::<u8>(), to in address(),
        validity in validity(), data in user_data(scheme),
    ) -> Tpdu {
        let [reject_duplicates, reply_path, report] = flags;
        Tpdu::Submit(Submit { reject_duplicates, reply_path, report, reference, to, protocol, scheme, validity, data })
    }
}

prop_compose! {
    fn deliver()(scheme in any::<u8>())(
        scheme in Just(scheme), flags in any::<[bool; 4]>(), protocol in any::<u8>(), from in address(), at in any::<[u8; 7]>(),
        data in user_data(scheme),
    ) -> Tpdu {
        let [more, loop_prevention, report, reply_path] = flags;
        let at = Timestamp(at);
        Tpdu::Deliver(Deliver { more, loop_prevention, report, reply_path, from, protocol, scheme, at, data })
    }
}

prop_compose! {
    fn status_report()(
        flags in any::<[bool; 2]>(), reference in any::<u8>(), to in address(), sent in any::<[u8; 7]>(),
        done in any::<[u8; 7]>(), status in any::<u8>(), extra in any::<[u8; 3]>(),
    ) -> Tpdu {
        let [more, command] = flags;
        let (sent, done, extra) = (Timestamp(sent), Timestamp(done), extra.to_vec());
        Tpdu::StatusReport(StatusReport { more, command, reference, to, sent, done, status, extra })
    }
}

proptest! {
    #[test]
    fn r24_r42_what_is_encoded_is_decoded(tpdu in prop_oneof![submit(), deliver(), status_report()]) {
        let bytes = tpdu.encode().unwrap();
        prop_assert_eq!(Tpdu::decode(&bytes), Ok(tpdu));
    }

    #[test]
    fn r24_any_bytes_are_read_or_refused(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
        if let Ok(tpdu) = Tpdu::decode(&bytes) {
            let again = tpdu.encode().unwrap();
            let read = Tpdu::decode(&again).unwrap();
            prop_assert_eq!(read.encode().unwrap(), again, "written once, it stays as it is");
        }
    }
}
