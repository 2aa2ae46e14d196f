//! The device trait as a modem needs it: an implementation that speaks AT commands to a modem played by the test.
//!
//! It is no driver: it has the dialogues in which a modem differs from a simulated handset, so that the trait is known
//! to bear them: calls whose numbers are used again, a prompt in the middle of a command, answers and unsolicited
//! codes on one line, refusals by number, and hardware that lacks most of what a handset has.

use std::collections::VecDeque;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use everline_agent::device::{
    Battery, Call, CallEnd, CallId, CallState, Capabilities, Coverage, Device, DeviceError,
    Diversion, DivertReason, Doing, EVENTS_MAX, Event, Mode, Number, Recorded, Reporting, SimCard,
};
use everline_agent::gsm::sms;
use tokio::io::{
    AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader, DuplexStream, ReadHalf, WriteHalf,
};
use tokio::sync::{Mutex, broadcast};

/// How long a modem may take for one line.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(30);

/// The modem's end of the line, and what the trait needs to be kept beside it.
struct Modem {
    port: Mutex<Port>,
    events: broadcast::Sender<Event>,
}

struct Port {
    read: BufReader<ReadHalf<DuplexStream>>,
    write: WriteHalf<DuplexStream>,
    /// Which call the modem's number 1 is now.
    call: Option<Call>,
    calls: u64,
    events: broadcast::Sender<Event>,
}

impl fmt::Debug for Modem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Modem")
    }
}

impl Modem {
    fn new(line: DuplexStream) -> Arc<Self> {
        let events = broadcast::Sender::new(EVENTS_MAX);
        let (read, write) = tokio::io::split(line);
        let port = Port {
            read: BufReader::new(read),
            write,
            call: None,
            calls: 0,
            events: events.clone(),
        };
        Arc::new(Self {
            port: Mutex::new(port),
            events,
        })
    }

    async fn command(&self, command: &str) -> Result<Vec<String>, DeviceError> {
        self.port.lock().await.command(command).await
    }
}

impl Port {
    async fn write(&mut self, text: &str) -> Result<(), DeviceError> {
        let written = self.write.write_all(text.as_bytes()).await;
        written.map_err(|error| DeviceError::Failed(error.to_string()))
    }

    async fn line(&mut self) -> Result<String, DeviceError> {
        let mut line = String::new();
        let read = tokio::time::timeout(ANSWER_TIMEOUT, self.read.read_line(&mut line)).await;
        match read {
            Ok(Ok(1..)) => Ok(line.trim_end().to_owned()),
            Ok(Ok(_)) => Err(DeviceError::Failed("the modem is gone".to_owned())),
            Ok(Err(error)) => Err(DeviceError::Failed(error.to_string())),
            Err(_) => Err(DeviceError::Failed("the modem does not answer".to_owned())),
        }
    }

    async fn command(&mut self, command: &str) -> Result<Vec<String>, DeviceError> {
        self.write(&format!("AT{command}\r")).await?;
        self.answer().await
    }

    /// The lines of an answer; what comes unasked meanwhile is told.
    async fn answer(&mut self) -> Result<Vec<String>, DeviceError> {
        let mut answer = Vec::new();
        loop {
            let line = self.line().await?;
            match line.as_str() {
                "OK" => return Ok(answer),
                "" => {}
                "+CME ERROR: 30" => return Err(DeviceError::NoCoverage),
                error if error.starts_with("+CME ERROR") || error.starts_with("+CMS ERROR") => {
                    return Err(DeviceError::Refused(error.to_owned()));
                }
                "NO CARRIER" => self.call_goes_on(CallState::Ended(CallEnd::NoAnswer)),
                "BUSY" => self.call_goes_on(CallState::Ended(CallEnd::Busy)),
                unasked if unasked.starts_with("+CMT:") => {
                    let tpdu = self.line().await?;
                    // The first octet says how long the message centre's address is.
                    let octets = octets(&tpdu);
                    let centre = usize::from(octets[0]);
                    let _ = self.events.send(Event::Sms(octets[1 + centre..].to_vec()));
                }
                _ => answer.push(line),
            }
        }
    }

    fn call_goes_on(&mut self, state: CallState) {
        let Some(mut call) = self.call.take() else {
            return;
        };
        call.state = state;
        let _ = self.events.send(Event::Call(call.clone()));
        if !matches!(state, CallState::Ended(_)) {
            self.call = Some(call);
        }
    }
}

fn octets(hex: &str) -> Vec<u8> {
    let pairs = hex.as_bytes().chunks(2);
    let octet = |pair: &[u8]| u8::from_str_radix(std::str::from_utf8(pair).unwrap(), 16).unwrap();
    pairs.map(octet).collect()
}

/// The values behind the colon of an answer's first line.
fn values(answer: &[String]) -> Vec<String> {
    let behind = answer.first().and_then(|line| line.split_once(": "));
    let values = behind.map_or("", |(_, values)| values).split(',');
    values
        .map(|value| value.trim_matches('"').to_owned())
        .collect()
}

fn lacks<T: Send + 'static>(what: &'static str) -> Doing<'static, T> {
    Box::pin(std::future::ready(Err(DeviceError::Unsupported(what))))
}

fn reason_number(reason: DivertReason) -> usize {
    DivertReason::ALL
        .iter()
        .position(|known| *known == reason)
        .unwrap()
}

impl Device for Modem {
    fn capabilities(&self) -> Capabilities {
        Capabilities {
            battery: true,
            coverage: true,
            mode: false,
            calls: true,
            diversion: true,
            sms: true,
            mms: false,
            email: false,
            camera: false,
            video: false,
            video_s_max: 0,
            sim: true,
        }
    }

    fn battery(&self) -> Doing<'_, Battery> {
        Box::pin(async {
            let values = values(&self.command("+CBC").await?);
            Ok(Battery {
                percent: values[1].parse().unwrap(),
                charging: values[0] == "1",
            })
        })
    }

    fn coverage(&self) -> Doing<'_, Coverage> {
        Box::pin(async {
            let quality = values(&self.command("+CESQ").await?);
            let operator = values(&self.command("+COPS?").await?);
            let dbm = quality[5]
                .parse::<i16>()
                .ok()
                .filter(|rsrp| *rsrp <= 97)
                .map(|rsrp| rsrp - 141);
            Ok(Coverage {
                bars: dbm.map_or(0, |dbm| {
                    u8::try_from(((dbm + 120) / 10).clamp(1, 5)).unwrap()
                }),
                dbm,
                technology: if operator[3] == "7" { "lte" } else { "gsm" },
                operator: Some(operator[2].clone()),
            })
        })
    }

    fn mode(&self) -> Doing<'_, Mode> {
        lacks("mode")
    }

    fn dial(&self, number: &Number) -> Doing<'_, CallId> {
        let number = number.clone();
        Box::pin(async move {
            let mut port = self.port.lock().await;
            if port.call.is_some() {
                return Err(DeviceError::Busy("a call is going on".to_owned()));
            }
            port.calls += 1;
            let id = CallId(port.calls);
            port.call = Some(Call {
                id,
                incoming: false,
                number: Some(number.clone()),
                state: CallState::Dialing,
            });
            match port.command(&format!("D{number};")).await {
                Ok(_) => Ok(id),
                Err(error) => {
                    port.call = None;
                    Err(error)
                }
            }
        })
    }

    fn hang_up(&self, call: CallId) -> Doing<'_, ()> {
        Box::pin(async move {
            let mut port = self.port.lock().await;
            // The modem's number 1 may be another call by now.
            if port.call.as_ref().is_some_and(|going| going.id == call) {
                port.command("+CHLD=11").await?;
                port.call_goes_on(CallState::Ended(CallEnd::NoAnswer));
            }
            Ok(())
        })
    }

    fn calls(&self) -> Doing<'_, Vec<Call>> {
        Box::pin(async {
            let mut port = self.port.lock().await;
            let answer = port.command("+CLCC").await?;
            if let Some(state) = values(&answer).get(2) {
                port.call_goes_on(match state.as_str() {
                    "0" => CallState::Active,
                    "2" => CallState::Dialing,
                    _ => CallState::Ringing,
                });
            }
            Ok(port.call.clone().into_iter().collect())
        })
    }

    fn diversion(&self, reason: DivertReason) -> Doing<'_, Option<Diversion>> {
        Box::pin(async move {
            let answer = self
                .command(&format!("+CCFC={},2", reason_number(reason)))
                .await?;
            let values = values(&answer);
            Ok((values[0] == "1").then(|| Diversion {
                to: Number::parse(&values[2]).unwrap(),
                after_s: values.get(6).and_then(|time| time.parse().ok()),
            }))
        })
    }

    fn divert(&self, reason: DivertReason, to: Option<&Diversion>) -> Doing<'_, ()> {
        let reason = reason_number(reason);
        let command = match to {
            Some(Diversion {
                to,
                after_s: Some(after_s),
            }) => {
                format!("+CCFC={reason},3,\"{to}\",145,1,,,{after_s}")
            }
            Some(Diversion { to, after_s: None }) => format!("+CCFC={reason},3,\"{to}\",145,1"),
            None => format!("+CCFC={reason},4"),
        };
        Box::pin(async move { self.command(&command).await.map(drop) })
    }

    fn send_sms(&self, tpdu: &[u8]) -> Doing<'_, u8> {
        let hex: String = tpdu.iter().map(|octet| format!("{octet:02X}")).collect();
        let length = tpdu.len();
        Box::pin(async move {
            let mut port = self.port.lock().await;
            port.write(&format!("AT+CMGS={length}\r")).await?;
            let mut prompt = [0; 4];
            let read = port.read.read_exact(&mut prompt).await;
            read.map_err(|error| DeviceError::Failed(error.to_string()))?;
            assert_eq!(&prompt, b"\r\n> ");
            // `00`: the message centre is the one on the card; Ctrl-Z ends the TPDU.
            port.write(&format!("00{hex}\x1a")).await?;
            Ok(values(&port.answer().await?)[0].parse().unwrap())
        })
    }

    fn send_mms(&self, _: &[u8]) -> Doing<'_, String> {
        lacks("mms")
    }

    fn send_email(&self, _: &[u8]) -> Doing<'_, ()> {
        lacks("email")
    }

    fn photograph(&self) -> Doing<'_, Recorded> {
        lacks("camera")
    }

    fn start_video(&self, _: Duration) -> Doing<'_, ()> {
        lacks("video")
    }

    fn stop_video(&self) -> Doing<'_, Recorded> {
        lacks("video")
    }

    fn sim(&self) -> Doing<'_, Option<SimCard>> {
        Box::pin(async {
            match self.command("+CPIN?").await {
                Ok(_) => {}
                Err(DeviceError::Refused(why)) if why.ends_with(": 10") => return Ok(None),
                Err(error) => return Err(error),
            }
            let book = values(&self.command("+CPBR=?").await?);
            let messages = values(&self.command("+CPMS?").await?);
            let most = book[0].trim_end_matches(')').rsplit('-').next().unwrap();
            Ok(Some(SimCard {
                contacts_max: most.parse().unwrap(),
                digits_max: book[1].parse().unwrap(),
                name_octets_max: book[2].parse().unwrap(),
                sms_max: messages[2].parse().unwrap(),
            }))
        })
    }

    fn report_levels(&self) -> Reporting {
        Reporting::until_dropped(|| {})
    }

    fn events(&self) -> broadcast::Receiver<Event> {
        self.events.subscribe()
    }
}

/// A modem that says what it is told to say, and holds what it is asked against what it expects.
async fn play(line: DuplexStream, script: &[(&str, &str)]) {
    let mut script: VecDeque<_> = script.iter().collect();
    let mut line = BufReader::new(line);
    while let Some((expected, answer)) = script.pop_front() {
        let mut heard = Vec::new();
        while !heard.ends_with(b"\r") && !heard.ends_with(b"\x1a") {
            heard.push(line.read_u8().await.unwrap());
        }
        assert_eq!(String::from_utf8(heard).unwrap().trim_end(), *expected);
        line.get_mut().write_all(answer.as_bytes()).await.unwrap();
    }
}

/// Has the device do something while the modem says its part.
async fn with_modem<T>(script: &[(&str, &str)], act: impl AsyncFnOnce(&dyn Device) -> T) -> T {
    let (ours, theirs) = tokio::io::duplex(4_096);
    let modem = Modem::new(ours);
    let (done, ()) = tokio::join!(act(&*modem), play(theirs, script));
    done
}

#[tokio::test]
async fn r36_r37_a_modem_tells_its_state() {
    let script = [
        ("AT+CBC", "\r\n+CBC: 1,87\r\n\r\nOK\r\n"),
        ("AT+CESQ", "\r\n+CESQ: 99,99,255,255,20,56\r\n\r\nOK\r\n"),
        (
            "AT+COPS?",
            "\r\n+COPS: 0,0,\"Test Network\",7\r\n\r\nOK\r\n",
        ),
        ("AT+CPIN?", "\r\n+CPIN: READY\r\n\r\nOK\r\n"),
        ("AT+CPBR=?", "\r\n+CPBR: (1-250),20,18\r\n\r\nOK\r\n"),
        (
            "AT+CPMS?",
            "\r\n+CPMS: \"SM\",3,30,\"SM\",3,30\r\n\r\nOK\r\n",
        ),
        ("AT+CPIN?", "\r\n+CME ERROR: 10\r\n"),
    ];
    with_modem(&script, async |modem| {
        let battery = modem.battery().await;
        assert_eq!(
            battery,
            Ok(Battery {
                percent: 87,
                charging: true
            })
        );
        let coverage = modem.coverage().await.unwrap();
        assert_eq!(
            (coverage.bars, coverage.dbm, coverage.technology),
            (3, Some(-85), "lte")
        );
        let card = modem.sim().await.unwrap().unwrap();
        assert_eq!(
            (card.contacts_max, card.name_octets_max, card.sms_max),
            (250, 18, 30)
        );
        assert_eq!(modem.sim().await, Ok(None));
        assert!(!modem.capabilities().mode);
        assert_eq!(modem.mode().await, Err(DeviceError::Unsupported("mode")));
    })
    .await;
}

#[tokio::test]
async fn r40_a_modems_calls_are_told_apart_though_their_numbers_are_not() {
    let script = [
        ("ATD+34600123456;", "\r\nOK\r\n"),
        (
            "AT+CLCC",
            "\r\n+CLCC: 1,0,0,0,0,\"+34600123456\",145\r\n\r\nOK\r\n",
        ),
        ("AT+CLCC", "\r\nNO CARRIER\r\n\r\nOK\r\n"),
        ("ATD*21#;", "\r\nOK\r\n"),
        ("AT+CHLD=11", "\r\nOK\r\n"),
        ("ATD112;", "\r\n+CME ERROR: 30\r\n"),
    ];
    with_modem(&script, async |modem| {
        let mut events = modem.events();
        let number = |text| Number::parse(text).unwrap();
        let first = modem.dial(&number("+34600123456")).await.unwrap();
        assert_eq!(modem.calls().await.unwrap()[0].state, CallState::Active);
        assert_eq!(modem.calls().await, Ok(vec![]));
        let Ok(Event::Call(ended)) = events.try_recv().and_then(|_| events.try_recv()) else {
            panic!()
        };
        assert_eq!(
            (ended.id, ended.state),
            (first, CallState::Ended(CallEnd::NoAnswer))
        );
        let second = modem.dial(&number("*21#")).await.unwrap();
        assert_eq!(
            modem.hang_up(first).await,
            Ok(()),
            "that call is over: nothing is said to the modem"
        );
        assert_eq!(modem.hang_up(second).await, Ok(()));
        assert_eq!(
            modem.dial(&number("112")).await,
            Err(DeviceError::NoCoverage)
        );
    })
    .await;
}

#[tokio::test]
async fn r41_a_modem_diverts_calls() {
    let script = [
        ("AT+CCFC=2,3,\"+34600\",145,1,,,15", "\r\nOK\r\n"),
        (
            "AT+CCFC=2,2",
            "\r\n+CCFC: 1,1,\"+34600\",145,,,15\r\n\r\nOK\r\n",
        ),
        ("AT+CCFC=2,4", "\r\nOK\r\n"),
        ("AT+CCFC=2,2", "\r\n+CCFC: 0,1\r\n\r\nOK\r\n"),
    ];
    with_modem(&script, async |modem| {
        let reason = DivertReason::NoAnswer;
        let wanted = Diversion {
            to: Number::parse("+34600").unwrap(),
            after_s: Some(15),
        };
        assert_eq!(modem.divert(reason, Some(&wanted)).await, Ok(()));
        assert_eq!(modem.diversion(reason).await, Ok(Some(wanted)));
        assert_eq!(modem.divert(reason, None).await, Ok(()));
        assert_eq!(modem.diversion(reason).await, Ok(None));
    })
    .await;
}

#[tokio::test]
async fn r42_a_modem_sends_and_brings_tpdus() {
    let tpdu = sms::compose("+34600123456", "Hello", 0, true)
        .unwrap()
        .remove(0);
    let hex: String = tpdu.iter().map(|octet| format!("{octet:02X}")).collect();
    let came = sms::deliver("BANK", "Hi", 0, time::OffsetDateTime::UNIX_EPOCH)
        .unwrap()
        .remove(0);
    let came_hex: String = came.iter().map(|octet| format!("{octet:02X}")).collect();
    let (length, sent) = (format!("AT+CMGS={}", tpdu.len()), format!("00{hex}\x1a"));
    let answer = format!(
        "\r\n+CMT: ,{}\r\n0491214365{came_hex}\r\n\r\n+CMGS: 42\r\n\r\nOK\r\n",
        came.len()
    );
    let script = [
        (length.as_str(), "\r\n> "),
        (sent.as_str(), answer.as_str()),
        (length.as_str(), "\r\n> "),
        (sent.as_str(), "\r\n+CMS ERROR: 10\r\n"),
    ];
    with_modem(&script, async |modem| {
        let mut events = modem.events();
        assert_eq!(modem.send_sms(&tpdu).await, Ok(42));
        assert_eq!(events.try_recv(), Ok(Event::Sms(came)));
        let refused = modem.send_sms(&tpdu).await;
        assert_eq!(
            refused,
            Err(DeviceError::Refused("+CMS ERROR: 10".to_owned()))
        );
    })
    .await;
}
