//! Holds the agent's papers against the agent: the example configuration and the description of the REST API.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use everline_agent::config::Config;
use everline_agent::owner;
use everline_agent::serve::builtin::consent::{self, access, prompts};
use everline_agent::serve::builtin::media::thumbnail;
use everline_agent::serve::builtin::personal_data::{PAGE_BYTES_MAX, PAGE_ITEMS_MAX};
use everline_agent::serve::builtin::problem::Kind;
use everline_agent::serve::builtin::resource::{self, Action, BODY_BYTES_MAX, PHONE, Shape};
use everline_agent::serve::builtin::{events, idempotency, respond_async, tasks};
use everline_agent::status::metrics;

fn paper(path: &str) -> String {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join(path);
    std::fs::read_to_string(&path).unwrap_or_else(|e| panic!("{}: {e}", path.display()))
}

fn parse(text: &str) -> Result<Config, String> {
    Config::parse(text, Path::new("agent.toml")).map_err(|errors| errors.to_string())
}

/// The keys that a table knows, as the error about one that it does not know lists them.
fn known(text: &str) -> BTreeSet<String> {
    let told = parse(text).unwrap_err();
    let list = told
        .split("expected one of ")
        .nth(1)
        .or(told.split("expected ").nth(1));
    let list = list.unwrap().lines().next().unwrap();
    list.split('`')
        .skip(1)
        .step_by(2)
        .map(str::to_owned)
        .collect()
}

/// The key that a line of the example sets or, behind `# `, would set; and the line without that `# `.
fn setting(line: &str) -> Option<(&str, &str)> {
    let line = line.strip_prefix("# ").unwrap_or(line);
    let (key, _) = line.split_once(" = ")?;
    let plain = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'_';
    key.bytes().all(plain).then_some((key, line))
}

#[test]
fn the_example_configuration_is_good() {
    let config = parse(&paper("agent.example.toml")).unwrap();
    assert_eq!(config.signaling.gateways[0].to_string(), "127.0.0.1:7000");
}

#[test]
fn the_example_documents_every_key_and_no_other() {
    let example = paper("agent.example.toml");
    let mut documented: [BTreeSet<String>; 9] = Default::default();
    let mut table = 0;
    for line in example.lines() {
        match line {
            "[[user]]" => table = 1,
            "[builtin]" => table = 2,
            "[device]" => table = 3,
            "# [https]" => table = 4,
            "[consent]" => table = 5,
            "# [[grant]]" => table = 6,
            "[owner]" => table = 7,
            "# [metrics]" => table = 8,
            _ => documented[table].extend(setting(line).map(|(key, _)| key.to_owned())),
        }
    }
    documented[0].extend(
        [
            "user", "builtin", "device", "https", "consent", "grant", "owner", "metrics",
        ]
        .map(str::to_owned),
    );
    let tables = [
        "zz = 1",
        "[[user]]\nzz = 1",
        "[builtin]\nzz = 1",
        "[device]\nzz = 1",
        "[https]\nzz = 1",
        "[consent]\nzz = 1",
        "[[grant]]\nzz = 1",
        "[owner]\nzz = 1",
        "[metrics]\nzz = 1",
    ];
    for (documented, table) in documented.iter().zip(tables) {
        assert_eq!(*documented, known(table));
    }
}

#[test]
fn the_example_shows_the_true_defaults() {
    let example = paper("agent.example.toml");
    let default = format!("{:?}", parse(&example).unwrap());
    let (mut shown, mut absent) = (0, false);
    for line in example.lines().filter(|line| line.starts_with(['#', '['])) {
        // A table that is not there by default has no defaults to show.
        if line.starts_with('[') || line.starts_with("# [") {
            absent = line.starts_with('#');
        }
        let Some((key, setting)) = setting(line).filter(|_| !absent) else {
            continue;
        };
        // The next three go with timeout_s = "auto".
        if ["timeout_min_s", "timeout_max_s", "state_file"].contains(&key) {
            continue;
        }
        if ["token", "forward", "password_hash", "import", "log"].contains(&key) {
            continue;
        }
        if key == "authentication" {
            assert_eq!(setting, "authentication = \"digest basic\"");
            continue;
        }
        let said = parse(&example.replace(line, setting)).unwrap();
        assert_eq!(format!("{said:?}"), default, "{line}");
        shown += 1;
    }
    assert!(shown >= 8);
}

#[test]
fn r53_r66_the_description_of_the_owners_api_is_true() {
    let paper = paper("../docs/owner-api.md");
    let row = |line: &str| {
        let mut cells = line.split('|').skip(1).map(str::trim);
        let url = cells.next()?.strip_prefix('`')?.strip_suffix('`')?;
        let methods = cells.next()?;
        url.starts_with("/api/")
            .then(|| (url.to_owned(), methods.to_owned()))
    };
    let listed: BTreeSet<_> = paper.lines().filter_map(row).collect();
    let there = owner::api::URLS
        .iter()
        .chain(owner::controls::URLS)
        .map(|(url, methods)| ((*url).to_owned(), (*methods).to_owned()));
    assert_eq!(listed, there.collect());
    let kinds = access::Kind::ALL.map(access::Kind::name);
    let deciders = consent::By::ALL.map(consent::By::name);
    for word in kinds.iter().chain(&deciders) {
        assert!(paper.contains(&format!("`{word}`")), "{word}");
    }
    for limit in [
        format!(
            "{} prompts, {} of one user",
            prompts::PROMPTS_MAX,
            prompts::PROMPTS_PER_USER_MAX
        ),
        format!(
            "{} requests wait, {} of one user and {} at one prompt",
            prompts::WAITING_MAX,
            prompts::WAITING_PER_USER_MAX,
            prompts::WAITING_PER_PROMPT_MAX
        ),
        format!("`seconds`, 1 to {}", access::SECONDS_MAX),
        format!("`times`, 1 to {}", access::TIMES_MAX),
        format!("At most {} streams", owner::api::stream::STREAMS_MAX),
    ] {
        assert!(paper.contains(&limit), "{limit}");
    }
    let api = self::paper("../docs/agent-api.md");
    // The owner's screen has words for each of them.
    let words = self::paper("src/owner/page/words.js");
    for decider in deciders {
        assert!(api.contains(&format!("`{decider}`")), "{decider}");
        let keys = [format!("\n  {decider}: '"), format!("\n  '{decider}': '")];
        assert!(keys.iter().any(|key| words.contains(key)), "{decider}");
    }
}

#[test]
fn r12_the_description_of_the_api_lists_every_problem_and_no_other() {
    let api = paper("../docs/agent-api.md");
    let row = |line: &str| {
        let mut cells = line.split('|').skip(1).map(str::trim);
        let status: u16 = cells.next()?.parse().ok()?;
        let slug = cells.next()?.strip_prefix('`')?.strip_suffix('`')?;
        Some((status, slug.to_owned()))
    };
    let listed: BTreeSet<_> = api.lines().filter_map(row).collect();
    let told = Kind::ALL.iter().map(|kind| {
        let (status, slug, _) = kind.told();
        (status.as_u16(), slug.to_owned())
    });
    assert_eq!(listed, told.collect());
}

#[test]
fn r12_r14_the_description_of_the_api_has_every_resource_with_its_fields_and_limits() {
    let api = paper("../docs/agent-api.md");
    for resource in resource::ALL.iter().filter(|r| r.is_collection()) {
        let path = resource.path();
        let urls = [
            (Action::List, format!("| `/{path}` | GET")),
            (Action::Add, format!("| `/{path}` | POST")),
            (Action::DeleteAll, format!("| `/{path}` | DELETE")),
            (Action::Get, format!("| `/{path}/{{id}}` | GET")),
            (Action::Delete, format!("| `/{path}/{{id}}` | DELETE")),
        ];
        for (action, url) in urls {
            assert_eq!(api.contains(&url), resource.has(action), "{url}");
        }
        let begins = format!("\n### `/{path}`\n");
        let (_, section) = api
            .split_once(&begins)
            .unwrap_or_else(|| panic!("no{begins}"));
        let section = section.split("\n#").next().unwrap();
        assert!(
            section.contains(&format!("`<{}>`", resource.item)),
            "{section}"
        );
        for form in resource.forms {
            assert!(
                section.contains(&format!("`{}`", form.media_type)),
                "{section}"
            );
        }
        let rows = section.lines().filter(|line| line.starts_with("| `"));
        assert_eq!(rows.count(), resource.fields.len(), "{section}");
        for field in resource.fields {
            let row = section
                .lines()
                .find(|line| line.starts_with(&format!("| `{}` |", field.name)));
            let row = row.unwrap_or_else(|| panic!("{} is not described", field.name));
            assert_eq!(row.contains("required"), field.required, "{row}");
            assert_eq!(row.contains("| given"), field.given, "{row}");
            let (limits, names) = match field.shape {
                Shape::Line { chars_max } | Shape::Text { chars_max } => (vec![chars_max], vec![]),
                Shape::Labelled {
                    label,
                    value,
                    entries_max,
                    chars_max,
                    ..
                } => (vec![entries_max, chars_max], vec![label, value]),
                Shape::Lines {
                    entries_max,
                    chars_max,
                    ..
                } => (vec![entries_max, chars_max], vec![]),
                Shape::Choice(words) => (vec![], words.to_vec()),
                Shape::Moment | Shape::Number(..) | Shape::Flag => (vec![], vec![]),
            };
            assert!(
                limits.iter().all(|limit| row.contains(&limit.to_string())),
                "{row}"
            );
            assert!(
                names.iter().all(|name| row.contains(&format!("`{name}`"))),
                "{row}"
            );
        }
        let memory = resource.memory(PHONE).unwrap();
        let thousands = memory.items_max / 1000;
        let items_max = format!(" {thousands},{:03} of them", memory.items_max % 1000);
        assert!(section.contains(&items_max), "{items_max}");
        if resource.content.is_none() && resource.body_bytes_max > BODY_BYTES_MAX {
            let bytes_max = format!("at most {} MiB", resource.body_bytes_max / BODY_BYTES_MAX);
            assert!(section.contains(&bytes_max), "{bytes_max}");
        }
    }
    assert!(api.contains(&format!("1 to {PAGE_ITEMS_MAX}")));
    let mib = BODY_BYTES_MAX / 1024 / 1024;
    assert!(api.contains(&format!("A body has at most {mib} MiB")));
    let mib = PAGE_BYTES_MAX / 1024 / 1024;
    assert!(api.contains(&format!("more than {mib} MiB")));
}

#[test]
fn r15_r40_r46_the_description_of_the_api_has_state_services_tasks_and_events() {
    let api = paper("../docs/agent-api.md");
    for resource in resource::ALL.iter().filter(|r| !r.is_collection()) {
        let path = format!("`/{}`", resource.path());
        let row = api
            .lines()
            .find(|line| line.starts_with(&format!("| {path} |")));
        let Some(row) = row else {
            // Events have a section of their own.
            assert!(
                api.contains(&format!("`GET /{}`", resource.path())),
                "{path}"
            );
            continue;
        };
        for field in resource.fields {
            // What several services share is said once.
            assert!(
                row.contains(&format!("`{}`", field.name)),
                "{}: {row}",
                field.name
            );
            if let Shape::Choice(words) = field.shape {
                assert!(
                    words.iter().all(|word| row.contains(&format!("`{word}`"))),
                    "{row}"
                );
            }
            if let Shape::Number(least, most) = field.shape {
                let dbm = field.name == "dbm";
                assert!(dbm || row.contains(&format!("{least} to {most}")), "{row}");
            }
        }
    }
    let Shape::Choice(states) = tasks::TASKS.field("state").unwrap().1.shape else {
        panic!("a task's state is one of some words");
    };
    assert!(
        states
            .iter()
            .all(|state| api.contains(&format!("`{state}`")))
    );
    for said in [
        format!("`?wait_s=20` (1 to {})", tasks::routes::WAIT_MAX.as_secs()),
        format!("The last {} tasks", tasks::TASKS_PER_USER_MAX),
        format!("{} of all users", tasks::RUNNING_MAX),
        format!(
            "{} of them, {} MiB together",
            respond_async::RESPONSES_MAX,
            respond_async::RESPONSES_BYTES_MAX >> 20
        ),
        format!("for {} minutes", respond_async::KEPT.as_secs() / 60),
        format!("one of the last {}", events::BEHIND_MAX),
        format!("{} callers may wait", tasks::WAITING_MAX),
        format!("{} callers may listen", events::stream::LISTENERS_MAX),
        format!(
            "ends after {} minutes",
            events::stream::LISTEN_MAX.as_secs() / 60
        ),
        format!("1 to {} visible ASCII", idempotency::KEY_BYTES_MAX),
        format!("least {} hours", idempotency::KEPT.as_secs() / 3600),
    ] {
        assert!(api.contains(&said), "{said}");
    }
}

#[test]
fn the_description_of_the_hardware_has_every_method_of_the_trait() {
    let paper = paper("../docs/device.md");
    let source = self::paper("src/device.rs");
    let (_, body) = source.split_once("pub trait Device").unwrap();
    let (body, _) = body.split_once("\n}\n").unwrap();
    let methods = body.lines().filter_map(|line| line.strip_prefix("    fn "));
    let methods: Vec<_> = methods.filter_map(|line| line.split('(').next()).collect();
    assert!(methods.len() >= 18, "{methods:?}");
    let rows = paper.lines().filter_map(|line| line.strip_prefix("| `"));
    let rows: Vec<_> = rows.filter_map(|line| line.split('`').next()).collect();
    assert_eq!(rows, methods);
}

#[test]
fn the_description_of_the_metrics_lists_each_and_no_other() {
    let paper = paper("../docs/agent-metrics.md");
    let row = |line: &str| {
        let mut cells = line.split('|').skip(1).map(str::trim);
        let name = cells.next()?.strip_prefix('`')?.strip_suffix('`')?;
        Some((name.to_owned(), cells.next()?.to_owned()))
    };
    let listed: BTreeSet<_> = paper.lines().filter_map(row).collect();
    let told = metrics::ALL
        .iter()
        .map(|(name, kind, _)| ((*name).to_owned(), (*kind).to_owned()));
    assert_eq!(listed, told.collect());
}

#[test]
fn r10_what_auto_learns_between_is_as_documented() {
    let example = paper("agent.example.toml").replace("# timeout_s = 300", "timeout_s = \"auto\"");
    let default = format!("{:?}", parse(&example).unwrap());
    for key in ["timeout_min_s", "timeout_max_s", "state_file"] {
        let line = example
            .lines()
            .find(|line| line.starts_with(&format!("# {key} = ")))
            .unwrap();
        let said = parse(&example.replace(line, &line[2..])).unwrap();
        assert_eq!(format!("{said:?}"), default, "{line}");
    }
    let told = parse(&example.replace("# timeout_max_s = 3600", "timeout_max_s = 59")).unwrap_err();
    assert!(
        told.contains("timeout_max_s: is less than timeout_min_s"),
        "{told}"
    );
    let fixed = paper("agent.example.toml").replace("# timeout_min_s", "timeout_min_s");
    assert!(
        parse(&fixed)
            .unwrap_err()
            .contains("have no effect without timeout_s = \"auto\"")
    );
}

#[test]
fn r21_r22_r23_the_description_of_the_api_has_every_type_of_file_and_how_long_it_may_be() {
    let api = paper("../docs/agent-api.md");
    for resource in resource::ALL {
        let Some(content) = &resource.content else {
            continue;
        };
        let row = format!("| {} | `{}`", resource.name, content.media_types[0]);
        let row = api.lines().find(|line| line.starts_with(&row));
        let row = row.unwrap_or_else(|| panic!("{} are not described", resource.name));
        let types: Vec<_> = content
            .media_types
            .iter()
            .map(|t| format!("`{t}`"))
            .collect();
        let limit = match content.bytes_max >> 30 {
            0 => format!("{} MiB", content.bytes_max >> 20),
            gib => format!("{gib} GiB"),
        };
        let expected = format!("| {} | {} | {limit} |", resource.name, types.join(" "));
        assert_eq!(row, expected);
        for url in ["content", "thumbnail"] {
            let url = format!("| `/{}/{{id}}/{url}` |", resource.path());
            assert!(api.contains(&url), "{url}");
        }
    }
    assert!(api.contains(&format!("{} pixels at most", thumbnail::SIDE_PIXELS)));
}
