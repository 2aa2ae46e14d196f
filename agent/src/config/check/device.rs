//! Holds the `[device]` table against what a simulated handset can be told.

use std::time::Duration;

use toml::Spanned;

use super::super::file::{Check, FileDevice};
use crate::device::simulated::SimulatedConfig;

/// A year, for a battery that hardly drains in a long test.
const SECONDS_MAX: u32 = 31_536_000;

impl Check<'_> {
    /// How the simulated handset behaves: without the table as it does by itself.
    pub(super) fn device(
        &mut self,
        device: Option<Spanned<FileDevice>>,
        forward: bool,
    ) -> SimulatedConfig {
        let usual = SimulatedConfig::default();
        let Some(device) = device else {
            return usual;
        };
        let span = device.span();
        let device = device.into_inner();
        if forward {
            let fault = "device: has no effect with forward; it is the embedded web server's";
            self.error(Some(span.clone()), fault);
        }
        match device.kind {
            Some(kind) if kind.get_ref() == "simulated" => {}
            Some(kind) => self.error(Some(kind.span()), "device.kind: expected \"simulated\""),
            None => self.error(
                Some(span),
                "device.kind: is missing; \"simulated\" is the one that there is",
            ),
        }
        let full = u32::from(usual.battery_percent);
        let percent = self.number(
            "device.battery_percent",
            device.battery_percent,
            0..=100,
            full,
        );
        let mut seconds = |key, value, usual: Duration| {
            let usual = u32::try_from(usual.as_secs()).unwrap_or(SECONDS_MAX);
            Duration::from_secs(self.number(key, value, 1..=SECONDS_MAX, usual).into())
        };
        let drain = seconds("device.drain_s", device.drain_s, usual.drain);
        let charge = seconds("device.charge_s", device.charge_s, usual.charge);
        let mut millis = |key, value, usual: Duration| {
            let usual = u32::try_from(usual.as_millis()).unwrap_or(u32::MAX);
            self.millis(key, value, usual)
        };
        SimulatedConfig {
            battery_percent: u8::try_from(percent).unwrap_or(100),
            drain,
            charge,
            dial: millis("device.dial_ms", device.dial_ms, usual.dial),
            ring: millis("device.ring_ms", device.ring_ms, usual.ring),
            no_answer: millis("device.no_answer_ms", device.no_answer_ms, usual.no_answer),
            talk: millis("device.talk_ms", device.talk_ms, usual.talk),
            send: millis("device.send_ms", device.send_ms, usual.send),
            delivery: millis("device.delivery_ms", device.delivery_ms, usual.delivery),
            starts_at: None,
            log: device.log.map(|path| self.path(path.get_ref())),
            seed: u64::from(self.number("device.seed", device.seed, 0..=u32::MAX, 1)),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::super::super::{Config, Serve};
    use super::*;

    const GOOD: &str = "msisdn = \"34600000001\"\ngateways = [\"a:1\"]\ntoken = \"t\"\n";
    const BUILTIN: &str =
        "authentication = \"none\"\n[consent]\nenabled = false\n[builtin]\ndatabase = \"a.db\"\n";

    fn parse(text: &str) -> Result<SimulatedConfig, String> {
        let config = Config::parse(&format!("{GOOD}{text}"), Path::new("/etc/agent.toml"));
        match config.map_err(|errors| errors.to_string())?.serve {
            Serve::Builtin(builtin) => Ok(builtin.device),
            Serve::Forward(_) => Ok(SimulatedConfig::default()),
        }
    }

    #[test]
    fn a_handset_is_simulated_as_the_table_says() {
        assert_eq!(parse(BUILTIN), Ok(SimulatedConfig::default()));
        let said = parse(&format!(
            "{BUILTIN}[device]\nkind = \"simulated\"\nseed = 7\nbattery_percent = 5\ndrain_s = 60\nring_ms = 20\nlog = \"air.log\""
        ));
        let said = said.unwrap();
        assert_eq!((said.seed, said.battery_percent), (7, 5));
        assert_eq!(said.drain, Duration::from_secs(60));
        assert_eq!(said.ring, Duration::from_millis(20));
        assert_eq!(said.log.as_deref(), Some(Path::new("/etc/air.log")));
    }

    #[test]
    fn what_is_wrong_with_the_table_is_told_by_key_and_line() {
        let told = parse(&format!(
            "{BUILTIN}[device]\nkind = \"real\"\nseed = -1\nbattery_percent = 101\nring_ms = 0"
        ));
        insta::assert_snapshot!(told.unwrap_err(), @r#"
        /etc/agent.toml:10: device.kind: expected "simulated"
        /etc/agent.toml:11: device.seed: -1 is not from 0 to 4294967295
        /etc/agent.toml:12: device.battery_percent: 101 is not from 0 to 100
        /etc/agent.toml:13: device.ring_ms: 0 is not from 1 to 600000
        "#);
        let told = parse(&format!("{BUILTIN}[device]\nseed = 1")).unwrap_err();
        insta::assert_snapshot!(told, @r#"/etc/agent.toml:9: device.kind: is missing; "simulated" is the one that there is"#);
        let told = parse("forward = \"http://127.0.0.1:81\"\n[device]\nkind = \"simulated\"");
        insta::assert_snapshot!(told.unwrap_err(), @"/etc/agent.toml:5: device: has no effect with forward; it is the embedded web server's");
    }
}
