//! Names, organizations, addresses and dates of JSContact as properties of vCard: what is made of several parts.

use serde_json::{Map, Value as Json};

use super::DATES;
use crate::serve::builtin::content_line::{Param, Property, escape};

type Object = Map<String, Json>;

pub(super) fn push(property: &mut Property, name: &str, values: Vec<String>) {
    let name = name.to_owned();
    property.params.push(Param { name, values });
}

/// Takes a member that is text; leaves any other one where it is.
pub(super) fn take(object: &mut Object, member: &str) -> Option<String> {
    match object.get(member) {
        Some(Json::String(_)) => match object.remove(member) {
            Some(Json::String(text)) => Some(text),
            _ => None,
        },
        _ => None,
    }
}

/// The components of a name or an address, if they are all as they should be.
pub(super) fn components(object: &Object) -> Option<Vec<(String, String)>> {
    let rows = object.get("components")?.as_array()?;
    let row = |row: &Json| {
        let row = row.as_object()?;
        let plain = row
            .keys()
            .all(|key| ["@type", "kind", "value"].contains(&key.as_str()));
        let kind = row.get("kind")?.as_str()?;
        let value = row.get("value")?.as_str()?;
        plain.then(|| (kind.to_owned(), value.to_owned()))
    };
    rows.iter().map(row).collect()
}

/// Places of N and ADR, each with the kinds that stand in it. A kind that RFC 9554 gave a place of its own stands in an
/// older one too, for those who know only that.
pub(super) type Places = &'static [&'static [&'static str]];

pub(super) const NAME: Places = &[
    &["surname"],
    &["given"],
    &["given2"],
    &["title"],
    &["credential"],
];

pub(super) const NAME_9554: Places = &[
    &["surname", "surname2"],
    &["given"],
    &["given2"],
    &["title"],
    &["credential", "generation"],
    &["surname2"],
    &["generation"],
];

const ADDRESS: Places = &[
    &["postOfficeBox"],
    &["apartment"],
    &["name"],
    &["locality"],
    &["region"],
    &["postcode"],
    &["country"],
];

const ADDRESS_9554: Places = &[
    &["postOfficeBox"],
    &["room", "apartment", "floor", "building"],
    &["name", "number", "block", "direction", "landmark"],
    &["locality", "district", "subdistrict"],
    &["region"],
    &["postcode"],
    &["country"],
    &["room"],
    &["apartment"],
    &["floor"],
    &["number"],
    &["name"],
    &["building"],
    &["block"],
    &["subdistrict"],
    &["district"],
    &["landmark"],
    &["direction"],
];

/// The older places if they hold all of it, else the newer; `None`: there are parts of other kinds.
pub(super) fn compound(parts: &[(String, String)], older: Places, newer: Places) -> Option<String> {
    let hold = |places: Places| {
        let mut kinds = parts.iter().map(|(kind, _)| kind.as_str());
        kinds.all(|kind| places.iter().any(|place| place.contains(&kind)))
    };
    let places = [older, newer].into_iter().find(|places| hold(places))?;
    let place = |kinds: &&[&str]| {
        let values = parts
            .iter()
            .filter(|(kind, _)| kinds.contains(&kind.as_str()));
        let values: Vec<_> = values.map(|(_, value)| escape(value)).collect();
        values.join(",")
    };
    let places: Vec<_> = places.iter().map(place).collect();
    Some(places.join(";"))
}

pub(super) fn sort_as(name: &Object) -> Option<String> {
    let sort = name.get("sortAs")?.as_object()?;
    let part = |kind: &str| sort.get(kind).and_then(Json::as_str);
    let plain = sort.keys().all(|key| key == "surname" || key == "given");
    match (part("surname"), part("given")) {
        (Some(surname), Some(given)) if plain => Some(format!("{surname},{given}")),
        (Some(surname), None) if plain => Some(surname.to_owned()),
        _ => None,
    }
}

pub(super) fn organization(object: &mut Object) -> Property {
    let mut parts = vec![escape(&take(object, "name").unwrap_or_default())];
    let units = object.get("units").and_then(Json::as_array);
    let name = |unit: &Json| {
        let unit = unit.as_object()?;
        let plain = unit.keys().all(|key| key == "@type" || key == "name");
        unit.get("name")?.as_str().filter(|_| plain).map(escape)
    };
    if let Some(units) = units.and_then(|units| units.iter().map(name).collect::<Option<Vec<_>>>())
    {
        object.remove("units");
        parts.extend(units);
    }
    let mut property = Property::raw("ORG", parts.join(";"));
    if let Some(sort) = take(object, "sortAs") {
        push(&mut property, "SORT-AS", vec![sort]);
    }
    property
}

pub(super) fn address(object: &mut Object) -> Property {
    let parts = components(object);
    let value = parts.and_then(|parts| compound(&parts, ADDRESS, ADDRESS_9554));
    if value.is_some() {
        object.remove("components");
    }
    let mut property = Property::raw("ADR", value.unwrap_or_else(|| ";;;;;;".to_owned()));
    for (param, member) in [
        ("LABEL", "full"),
        ("CC", "countryCode"),
        ("GEO", "coordinates"),
        ("TZ", "timeZone"),
    ] {
        if let Some(said) = take(object, member) {
            push(&mut property, param, vec![said]);
        }
    }
    property
}

pub(super) fn anniversary(object: &mut Object) -> Option<Property> {
    let kind = object.get("kind")?.as_str()?;
    let (name, _) = DATES.iter().find(|(_, meant)| *meant == kind)?;
    let date = object.get("date")?.as_object()?;
    let property = match date.get("utc") {
        Some(Json::String(utc)) => {
            let basic: String = utc.chars().filter(|c| !matches!(c, '-' | ':')).collect();
            Property::raw(name, basic)
        }
        Some(_) => return None,
        None => {
            let number = |key: &str| match date.get(key) {
                None => Some(None),
                Some(value) => value.as_u64().filter(|n| *n < 10_000).map(Some),
            };
            let value = match (number("year")?, number("month")?, number("day")?) {
                (Some(year), Some(month), Some(day)) => format!("{year:04}{month:02}{day:02}"),
                (None, Some(month), Some(day)) => format!("--{month:02}{day:02}"),
                (Some(year), Some(month), None) => format!("{year:04}-{month:02}"),
                (Some(year), None, None) => format!("{year:04}"),
                _ => return None,
            };
            let scale = date.get("calendarScale").and_then(Json::as_str);
            let property = Property::raw(name, value);
            match scale {
                Some(scale) => property.with("CALSCALE", scale),
                None => property,
            }
        }
    };
    object.remove("kind");
    object.remove("date");
    Some(property)
}
