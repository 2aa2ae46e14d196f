//! A card of vCard 4.0 as JSContact (RFC 9555, section 2).

use serde_json::{Map, Value as Json, json};

use super::{ADDRESS_KINDS, CONTEXTS, DATES, FEATURES, MEMBERS, NAME_KINDS, SIMPLE, Simple};
use crate::serve::builtin::contacts;
use crate::serve::builtin::content_line::{Param, Property, split_escaped, unescape};
use crate::serve::builtin::vcard::Card;

type Object = Map<String, Json>;

/// Parameters that have a home wherever they stand.
const COMMON: &[&str] = &["TYPE", "PREF", "PROP-ID", "VALUE"];

/// The card as JSON; `uid` makes one for a card without.
pub fn json(card: &Card, uid: impl FnOnce() -> String) -> Json {
    let mut into = Into {
        card,
        js: Object::new(),
        rest: Vec::new(),
    };
    into.js.insert("@type".to_owned(), json!("Card"));
    into.js.insert("version".to_owned(), json!("1.0"));
    for property in &card.properties {
        if !into.take(property) {
            into.rest.push(jcard(property));
        }
    }
    if !into.js.contains_key("uid") {
        into.js.insert("uid".to_owned(), json!(uid()));
    }
    let Into { mut js, rest, .. } = into;
    if !rest.is_empty() {
        js.insert("vCardProps".to_owned(), Json::Array(rest));
    }
    // Last, so that what came from JSContact once goes into the objects that are there by now.
    for property in card.properties.iter().filter(|p| p.name == "JSPROP") {
        put_pointer(&mut js, property);
    }
    Json::Object(js)
}

struct Into<'a> {
    card: &'a Card,
    js: Object,
    /// What has no home: `vCardProps`.
    rest: Vec<Json>,
}

impl Into<'_> {
    /// `false`: there is no home for it.
    fn take(&mut self, property: &Property) -> bool {
        // A second way to say the same in another language has no home in an object that has one language.
        if property.param("ALTID").is_some() && self.is_second(property) {
            return false;
        }
        let name = property.name.as_str();
        if let Some(simple) = SIMPLE.iter().find(|simple| simple.property == name) {
            return self.simple(simple, property);
        }
        if let Some((_, kind)) = DATES.iter().find(|(date, _)| *date == name) {
            return self.date(kind, property);
        }
        // These become a member that is a value alone, where a group or a parameter has no home.
        let alone = [
            "UID",
            "PRODID",
            "LANGUAGE",
            "KIND",
            "REV",
            "CREATED",
            "CATEGORIES",
            "MEMBER",
            "GRAMGENDER",
        ];
        if alone.contains(&name) && !is_alone(property) {
            return false;
        }
        match name {
            "VERSION" | "JSPROP" => true,
            // Words for a group, that are told with what they are for.
            "X-ABLABEL" => self.labels_something(property),
            "UID" => self.once("uid", json!(property.text())),
            "PRODID" => self.once("prodId", json!(property.text())),
            "LANGUAGE" => self.once("language", json!(property.text())),
            "KIND" => self.once("kind", json!(property.text().to_ascii_lowercase())),
            "REV" => self.moment("updated", property),
            "CREATED" => self.moment("created", property),
            "FN" => self.full_name(property),
            "N" => self.name(property),
            "NICKNAME" => self.nicknames(property),
            "ORG" => self.organization(property),
            "ADR" => self.address(property),
            "CATEGORIES" => self.words("keywords", property.list()),
            "MEMBER" => self.words("members", vec![property.text()]),
            "RELATED" => self.relation(property),
            "GRAMGENDER" => {
                let gender = property.text().to_ascii_lowercase();
                self.object("speakToAs", "SpeakToAs")
                    .insert("grammaticalGender".to_owned(), json!(gender));
                true
            }
            _ => false,
        }
    }

    fn is_second(&self, property: &Property) -> bool {
        let alike =
            |p: &&Property| p.name == property.name && p.param("ALTID") == property.param("ALTID");
        let first = self.card.properties.iter().find(alike);
        !first.is_some_and(|first| std::ptr::eq(first, property))
    }

    fn labels_something(&self, property: &Property) -> bool {
        property.group.is_some()
            && self.card.properties.iter().any(|p| {
                p.group == property.group
                    && (p.name == "ADR" || SIMPLE.iter().any(|simple| simple.property == p.name))
            })
    }

    fn once(&mut self, key: &str, value: Json) -> bool {
        let free = !self.js.contains_key(key);
        if free {
            self.js.insert(key.to_owned(), value);
        }
        free
    }

    /// A moment of JSContact is in UTC; another one has no home.
    fn moment(&mut self, key: &str, property: &Property) -> bool {
        match utc(property.value.trim()) {
            Some(moment) => self.once(key, json!(moment)),
            None => false,
        }
    }

    /// The object under this key, made if it is not there.
    fn object(&mut self, key: &str, kind: &str) -> &mut Object {
        let slot = self.js.entry(key).or_insert_with(|| json!({"@type": kind}));
        if !slot.is_object() {
            *slot = json!({"@type": kind});
        }
        match slot {
            Json::Object(object) => object,
            _ => unreachable!("made an object above"),
        }
    }

    /// Puts an object into a map, under the id that the property carries or a new one.
    fn put(&mut self, map: &str, property: &Property, object: Object) {
        let slot = self.js.entry(map).or_insert_with(|| json!({}));
        let Json::Object(slot) = slot else {
            return;
        };
        let carried = property.param("PROP-ID").map(str::to_owned);
        let free = |id: &String| !slot.contains_key(id);
        let id = carried.filter(free).or_else(|| {
            let mut ids = (1..).map(|n| format!("{}-{n}", property.name));
            ids.find(free)
        });
        if let Some(id) = id {
            slot.insert(id, Json::Object(object));
        }
    }

    /// The object with what parameters say of any property; `known` are those that were told otherwise.
    fn described(&self, kind: &str, property: &Property, known: &[&str]) -> Object {
        let mut object = Object::new();
        object.insert("@type".to_owned(), json!(kind));
        let (mut contexts, mut features, mut types) = (Object::new(), Object::new(), Vec::new());
        for word in property.types() {
            let of = |table: &[(&str, &'static str)]| {
                let row = table.iter().find(|(name, _)| *name == word);
                row.map(|(_, meant)| (*meant).to_owned())
            };
            let feature = of(FEATURES).filter(|_| kind == "Phone");
            let context = of(CONTEXTS)
                .filter(|c| kind == "Address" || ["private", "work"].contains(&c.as_str()));
            match (context, feature) {
                (Some(context), _) => drop(contexts.insert(context, json!(true))),
                (None, Some(feature)) => drop(features.insert(feature, json!(true))),
                (None, None) => types.push(word),
            }
        }
        if !contexts.is_empty() {
            object.insert("contexts".to_owned(), Json::Object(contexts));
        }
        if !features.is_empty() {
            object.insert("features".to_owned(), Json::Object(features));
        }
        if let Some(pref) = property.param("PREF").and_then(|p| p.parse::<u8>().ok()) {
            object.insert("pref".to_owned(), json!(pref));
        }
        if let Some(label) = contacts::label_of_group(self.card, property) {
            object.insert("label".to_owned(), json!(label));
        }
        let mut params = Object::new();
        if !types.is_empty() && !known.contains(&"TYPE") {
            params.insert("type".to_owned(), one_or_many(&types));
        }
        if let Some(group) = &property.group {
            params.insert("group".to_owned(), json!(group));
        }
        for param in &property.params {
            let name = param.name.as_str();
            if !COMMON.contains(&name) && !known.contains(&name) {
                params.insert(name.to_ascii_lowercase(), one_or_many(&param.values));
            }
        }
        if !params.is_empty() {
            object.insert("vCardParams".to_owned(), Json::Object(params));
        }
        object
    }

    fn simple(&mut self, simple: &Simple, property: &Property) -> bool {
        let mut known: Vec<_> = MEMBERS.iter().map(|(param, _)| *param).collect();
        known.extend(["LEVEL", "INDEX"]);
        let mut object = self.described(simple.object, property, &known);
        object.insert(simple.member.to_owned(), json!(property.text()));
        if let Some(kind) = simple.kind {
            object.insert("kind".to_owned(), json!(kind));
        }
        for (param, member) in MEMBERS {
            if let Some(said) = property.param(param) {
                object.insert((*member).to_owned(), json!(said));
            }
        }
        if let Some(index) = property.param("INDEX").and_then(|i| i.parse::<u32>().ok()) {
            object.insert("listAs".to_owned(), json!(index));
        }
        if let Some(level) = property.param("LEVEL") {
            let level = match level.to_ascii_lowercase().as_str() {
                "beginner" => "low".to_owned(),
                "average" => "medium".to_owned(),
                "expert" => "high".to_owned(),
                other => other.to_owned(),
            };
            object.insert("level".to_owned(), json!(level));
        }
        if property.name == "IMPP" {
            object.insert("vCardName".to_owned(), json!("impp"));
        }
        self.put(simple.map, property, object);
        true
    }

    fn full_name(&mut self, property: &Property) -> bool {
        let text = property.text();
        let name = self.object("name", "Name");
        let free = !name.contains_key("full");
        if free {
            name.insert("full".to_owned(), json!(text));
            put_params(name, property, &["DERIVED"]);
        }
        free
    }

    fn name(&mut self, property: &Property) -> bool {
        let mut components = Vec::new();
        let lists: Vec<Vec<String>> = lists(&property.value);
        // In the order in which a name is spoken; RFC 9554's generation and second surname are in the older places, too.
        for at in [3, 1, 2, 0, 5, 6, 4] {
            let Some(kind) = NAME_KINDS.get(at) else {
                continue;
            };
            let doubled = |value: &String| {
                let newer = match at {
                    0 => 5,
                    4 => 6,
                    _ => return false,
                };
                lists.get(newer).is_some_and(|list| list.contains(value))
            };
            let values = lists.get(at).into_iter().flatten();
            for value in values.filter(|v| !v.is_empty() && !doubled(v)) {
                components.push(json!({"@type": "NameComponent", "kind": kind, "value": value}));
            }
        }
        let sort = property.param("SORT-AS").map(str::to_owned);
        let name = self.object("name", "Name");
        if name.contains_key("components") {
            return false;
        }
        if !components.is_empty() {
            name.insert("components".to_owned(), Json::Array(components));
        }
        if let Some(sort) = sort {
            let mut parts = sort.splitn(2, ',').map(str::trim);
            let mut sorted = Object::new();
            for kind in ["surname", "given"] {
                if let Some(part) = parts.next() {
                    sorted.insert(kind.to_owned(), json!(part));
                }
            }
            name.insert("sortAs".to_owned(), Json::Object(sorted));
        }
        put_params(name, property, &["SORT-AS"]);
        true
    }

    fn nicknames(&mut self, property: &Property) -> bool {
        for name in property.list() {
            let mut object = self.described("Nickname", property, &[]);
            object.insert("name".to_owned(), json!(name));
            self.put("nicknames", property, object);
        }
        true
    }

    fn organization(&mut self, property: &Property) -> bool {
        let mut object = self.described("Organization", property, &["SORT-AS"]);
        let mut parts = property
            .components()
            .into_iter()
            .map(|part| part.trim().to_owned());
        let name = parts.next().unwrap_or_default();
        if !name.is_empty() {
            object.insert("name".to_owned(), json!(name));
        }
        let units: Vec<_> = parts
            .filter(|part| !part.is_empty())
            .map(|unit| json!({"@type": "OrgUnit", "name": unit}))
            .collect();
        if !units.is_empty() {
            object.insert("units".to_owned(), Json::Array(units));
        }
        if let Some(sort) = property.param("SORT-AS") {
            object.insert("sortAs".to_owned(), json!(sort));
        }
        self.put("organizations", property, object);
        true
    }

    fn address(&mut self, property: &Property) -> bool {
        let known = ["LABEL", "CC", "GEO", "TZ"];
        let mut object = self.described("Address", property, &known);
        let mut components = Vec::new();
        let lists: Vec<Vec<String>> = lists(&property.value);
        // An address with the components of RFC 9554 repeats them in the older ones, for those who know only these.
        let newer = lists
            .iter()
            .skip(7)
            .flatten()
            .any(|value| !value.is_empty());
        for (at, (kind, list)) in ADDRESS_KINDS.iter().zip(&lists).enumerate() {
            if newer && matches!(at, 1 | 2) {
                continue;
            }
            let doubled = |value: &String| {
                let newer = lists.get(14..16).unwrap_or_default();
                at == 3 && newer.iter().flatten().any(|v| v == value)
            };
            for value in list.iter().filter(|v| !v.is_empty() && !doubled(v)) {
                components.push(json!({"@type": "AddressComponent", "kind": kind, "value": value}));
            }
        }
        if !components.is_empty() {
            object.insert("components".to_owned(), Json::Array(components));
        }
        for (param, member) in [
            ("LABEL", "full"),
            ("CC", "countryCode"),
            ("GEO", "coordinates"),
            ("TZ", "timeZone"),
        ] {
            if let Some(said) = property.param(param) {
                object.insert(member.to_owned(), json!(said));
            }
        }
        self.put("addresses", property, object);
        true
    }

    fn date(&mut self, kind: &str, property: &Property) -> bool {
        let Some(date) = partial(property) else {
            return false;
        };
        let mut object = self.described("Anniversary", property, &["CALSCALE"]);
        object.insert("kind".to_owned(), json!(kind));
        object.insert("date".to_owned(), date);
        self.put("anniversaries", property, object);
        true
    }

    fn words(&mut self, key: &str, words: Vec<String>) -> bool {
        let slot = self.js.entry(key).or_insert_with(|| json!({}));
        let Json::Object(slot) = slot else {
            return false;
        };
        for word in words.into_iter().filter(|word| !word.trim().is_empty()) {
            slot.insert(word.trim().to_owned(), json!(true));
        }
        true
    }

    fn relation(&mut self, property: &Property) -> bool {
        let plain = |param: &Param| ["TYPE", "VALUE"].contains(&param.name.as_str());
        if property.group.is_some() || !property.params.iter().all(plain) {
            return false;
        }
        let kinds: Object = property
            .types()
            .into_iter()
            .map(|kind| (kind, json!(true)))
            .collect();
        let slot = self.js.entry("relatedTo").or_insert_with(|| json!({}));
        let Json::Object(slot) = slot else {
            return false;
        };
        // Two properties may relate the same card in two ways.
        let relation = slot
            .entry(property.text())
            .or_insert_with(|| json!({"@type": "Relation", "relation": {}}));
        if let Some(Json::Object(known)) = relation.get_mut("relation") {
            known.extend(kinds);
        }
        true
    }
}

/// Whether a property has nothing beside its value.
fn is_alone(property: &Property) -> bool {
    let told = |param: &Param| ["VALUE", "PROP-ID"].contains(&param.name.as_str());
    property.group.is_none() && property.params.iter().all(told)
}

/// What FN and N say beside their values goes with the name; of two that say the same, the first counts.
fn put_params(name: &mut Object, property: &Property, known: &[&str]) {
    let mut params = Object::new();
    if let Some(group) = &property.group {
        params.insert("group".to_owned(), json!(group));
    }
    for param in &property.params {
        let is_known = ["PROP-ID", "VALUE"].contains(&param.name.as_str());
        if !is_known && !known.contains(&param.name.as_str()) {
            params.insert(param.name.to_ascii_lowercase(), one_or_many(&param.values));
        }
    }
    if params.is_empty() {
        return;
    }
    let slot = name.entry("vCardParams").or_insert_with(|| json!({}));
    if let Json::Object(slot) = slot {
        for (key, value) in params {
            slot.entry(key).or_insert(value);
        }
    }
}

fn lists(value: &str) -> Vec<Vec<String>> {
    split_escaped(value, ';')
        .map(|part| {
            split_escaped(part, ',')
                .map(|v| unescape(v).trim().to_owned())
                .collect()
        })
        .collect()
}

fn one_or_many(values: &[String]) -> Json {
    match values {
        [one] => json!(one),
        many => json!(many),
    }
}

/// A property as jCard has it (RFC 7095): name, parameters, type of the value, value.
fn jcard(property: &Property) -> Json {
    let mut params = Object::new();
    if let Some(group) = &property.group {
        params.insert("group".to_owned(), json!(group));
    }
    let said = property
        .param("VALUE")
        .unwrap_or("unknown")
        .to_ascii_lowercase();
    for param in property.params.iter().filter(|param| param.name != "VALUE") {
        let name = param.name.to_ascii_lowercase();
        params.insert(name, one_or_many(&param.values));
    }
    // The value of a kind that is not known goes as it stands in the vCard, escapes and all (RFC 7095, 5.1).
    let value = match said.as_str() {
        "text" | "uri" => json!(property.text()),
        _ => json!(property.value),
    };
    json!([property.name.to_ascii_lowercase(), params, said, value])
}

/// `19531015`, `--0415`, `1985-04`, `19531015T231000Z` as JSContact has them; `None` for words and clock times alone.
fn partial(property: &Property) -> Option<Json> {
    if property.says("VALUE", "text") {
        return None;
    }
    let said = property.value.trim();
    if said.contains('T') {
        return utc(said).map(|utc| json!({"@type": "Timestamp", "utc": utc}));
    }
    let number = |text: &str| match text.bytes().all(|b| b.is_ascii_digit()) {
        true => text.parse::<u32>().ok(),
        false => None,
    };
    let (year, month, day) = match (said.strip_prefix("---"), said.strip_prefix("--")) {
        (Some(_), _) => return None,
        (_, Some(rest)) => ("", rest.get(..2)?, rest.get(2..)?),
        _ => match said.split_once('-') {
            Some((year, month)) => (year, month, ""),
            None => (
                said.get(..4)?,
                said.get(4..6).unwrap_or(""),
                said.get(6..).unwrap_or(""),
            ),
        },
    };
    let mut date = Object::new();
    date.insert("@type".to_owned(), json!("PartialDate"));
    for (key, part) in [("year", year), ("month", month), ("day", day)] {
        if !part.is_empty() {
            date.insert(key.to_owned(), json!(number(part)?));
        }
    }
    if let Some(scale) = property.param("CALSCALE") {
        date.insert("calendarScale".to_owned(), json!(scale));
    }
    Some(Json::Object(date))
}

/// `19961022T140000Z` as `1996-10-22T14:00:00Z`.
fn utc(said: &str) -> Option<String> {
    let (date, time) = said.strip_suffix('Z')?.split_once('T')?;
    let digits = |text: &str| text.bytes().all(|b| b.is_ascii_digit());
    if date.len() != 8 || time.len() != 6 || !digits(date) || !digits(time) {
        return None;
    }
    let (year, rest) = date.split_at_checked(4)?;
    let (month, day) = rest.split_at_checked(2)?;
    let (hour, rest) = time.split_at_checked(2)?;
    let (minute, second) = rest.split_at_checked(2)?;
    Some(format!("{year}-{month}-{day}T{hour}:{minute}:{second}Z"))
}

/// `JSPROP;JSPTR="phones/a/x":{…}`: a member that no property of vCard could hold (RFC 9555, 3.2.1).
fn put_pointer(js: &mut Object, property: &Property) {
    let Some(pointer) = property.param("JSPTR") else {
        return;
    };
    let Ok(value) = serde_json::from_str::<Json>(&property.text()) else {
        return;
    };
    let path: Vec<_> = pointer
        .split('/')
        .map(|token| token.replace("~1", "/").replace("~0", "~"))
        .collect();
    let Some((last, path)) = path.split_last() else {
        return;
    };
    let mut at = js;
    for token in path {
        let slot = at.entry(token.clone()).or_insert_with(|| json!({}));
        let Json::Object(object) = slot else {
            return;
        };
        at = object;
    }
    at.insert(last.clone(), value);
}
