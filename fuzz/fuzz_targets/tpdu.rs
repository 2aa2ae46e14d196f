//! An SMS under any bytes: a TPDU is read or refused, and what was read is written so that it stays as it is.
#![no_main]

use everline_agent::gsm::sms::join;
use everline_agent::gsm::tpdu::Tpdu;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let Ok(tpdu) = Tpdu::decode(bytes) else {
        return;
    };
    let written = tpdu.encode().expect("what was read fits");
    let again = Tpdu::decode(&written).expect("what was written is read");
    assert_eq!(again.encode().as_ref(), Ok(&written));
    match again {
        Tpdu::Submit(submit) => drop(join([(submit.scheme, &submit.data)])),
        Tpdu::Deliver(deliver) => drop(join([(deliver.scheme, &deliver.data)])),
        Tpdu::StatusReport(report) => drop(report.outcome()),
    }
});
