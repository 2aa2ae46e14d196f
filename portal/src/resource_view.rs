//! What the pages of a resource look like: each is drawn from the resource's description, whatever the resource is.

use maud::{Markup, html};
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};

use crate::form::SubmissionId;
use crate::handset::Listing;
use crate::icon::Icon;
use crate::layout::{back, notice};
use crate::outcome::{Action, Outcome, Progress};
use crate::refusal::trouble_rest;
use crate::resource::{Draft, Entry, Field, Held, Item, Kind, Listed, Mistake, Resource};
use crate::trouble::Trouble;

/// The list (R27), `onward` if it does not begin at the beginning.
pub(crate) fn list(resource: &Resource, listing: &Listing, onward: bool) -> Markup {
    let here = format!("/{}", resource.slug);
    html! {
        (back("/", "Main page"))
        div class="heading" {
            h1 { (resource.title) }
            a class="button" href={ (here) "/add" } { (Icon::Add.draw()) span { "Add a " (resource.one) } }
        }
        @if listing.items.is_empty() {
            div class="empty" {
                (resource.icon.draw())
                @if onward { p { "That was all." } } @else { p { "There are no " (resource.title.to_lowercase()) " in this handset yet." } }
            }
        } @else {
            ul class="items" { @for item in &listing.items { li { (row(resource, item)) } } }
        }
        @if onward || listing.next.is_some() {
            nav class="pages" aria-label="Pages" {
                @if onward { a class="button quiet" href=(here) { (Icon::Back.draw()) span { "From the beginning" } } }
                @if let Some(next) = &listing.next {
                    a class="button quiet" href={ (here) "?after=" (encoded(next)) } { span { "More " (resource.title.to_lowercase()) } (Icon::Next.draw()) }
                }
            }
        }
    }
}

fn row(resource: &Resource, item: &Item) -> Markup {
    let name = resource.name_of(item);
    html! {
        article class="item" {
            span class={ "avatar tone-" (tone(name)) } aria-hidden="true" { (initials(name)) }
            div class="what" {
                h2 { bdi { (name) } @if let Some(store) = &item.store { (store_badge(store)) } }
                (details(resource, item))
            }
            a class="button quiet danger" href={ "/" (resource.slug) "/delete?id=" (encoded(&item.id)) } {
                (Icon::Delete.draw()) span { "Delete" span class="unseen" { " " bdi { (name) } } }
            }
        }
    }
}

fn store_badge(store: &str) -> Markup {
    let label = match store {
        "phone" => "Phone",
        "sim" => "SIM card",
        other => other,
    };
    html! { " " span class="store" { (label) } }
}

/// All fields but the name, those that hold something.
fn details(resource: &Resource, item: &Item) -> Markup {
    let fields = resource.fields.iter().zip(&item.values).skip(1);
    html! {
        dl {
            @for (field, held) in fields { (detail(field, held)) }
        }
    }
}

fn detail(field: &Field, held: &Held) -> Markup {
    match (&field.kind, held) {
        (Kind::Listed(listed), Held::List(entries)) => html! {
            @for (tag, entry) in entries {
                div {
                    dt { span class="unseen" { (field.label) " " } bdi { (listed.label(tag)) } }
                    dd { (link(listed.entry, entry)) }
                }
            }
        },
        (Kind::Line(entry), Held::Text(text)) if !text.is_empty() => html! {
            div { dt { (field.label) } dd { (link(*entry, text)) } }
        },
        (Kind::Text, Held::Text(text)) if !text.is_empty() => html! {
            div class="long" { dt { (field.label) } dd dir="auto" { (text) } }
        },
        _ => html! {},
    }
}

fn link(entry: Entry, text: &str) -> Markup {
    let dialled: String = text
        .chars()
        .filter(|c| c.is_ascii_digit() || "+*#".contains(*c))
        .collect();
    match entry {
        Entry::Phone if !dialled.is_empty() => {
            html! { a href={ "tel:" (encoded(&dialled)) } { bdi { (text) } } }
        }
        Entry::Email if text.contains('@') => {
            html! { a href={ "mailto:" (encoded(text)) } { bdi { (text) } } }
        }
        _ => html! { bdi { (text) } },
    }
}

/// The form that adds (R29), with what was typed before and what was wrong with it.
pub(crate) fn add(
    resource: &Resource,
    draft: &Draft,
    mistakes: &[Mistake],
    hidden: &Markup,
) -> Markup {
    let here = format!("/{}", resource.slug);
    html! {
        (back(&here, resource.title))
        section class="card" {
            h1 { "Add a " (resource.one) }
            @if !mistakes.is_empty() {
                div class="alert" role="alert" {
                    (Icon::Trouble.draw())
                    div { strong { "Not sent yet" } p { "Something needs another look; see below." } }
                }
            }
            form method="post" action={ (here) "/add" } {
                (hidden)
                @for field in resource.fields { (field_input(field, draft, mistakes)) }
                div class="actions" {
                    button type="submit" { "Add " (resource.one) }
                    a class="button quiet" href=(here) { "Cancel" }
                }
            }
        }
    }
}

fn field_input(field: &Field, draft: &Draft, mistakes: &[Mistake]) -> Markup {
    match &field.kind {
        Kind::Line(entry) => {
            line_input(field, *entry, &field.input(), field.label, draft, mistakes)
        }
        Kind::Text => {
            let input = field.input();
            html! {
                div class="field" {
                    label for=(input) { (field.label) (optional(field)) }
                    textarea id=(input) name=(input) rows="3" maxlength=(field.chars_max) dir="auto" { "\n" (draft.value(&input)) }
                    (mistake(&input, mistakes))
                }
            }
        }
        Kind::Listed(listed) => {
            let used = |row| !draft.value(&field.row_input(row, listed.member)).is_empty();
            let wrong = |row| {
                mistakes
                    .iter()
                    .any(|mistake| mistake.input == field.row_input(row, listed.member))
            };
            let open = (1..listed.rows).any(|row| used(row) || wrong(row));
            html! {
                fieldset class="rows" {
                    legend { (field.label) (optional(field)) }
                    (row_input(field, listed, 0, draft, mistakes))
                    @if listed.rows > 1 {
                        details open[open] {
                            summary { "More than one " (listed.one) }
                            @for row in 1..listed.rows { (row_input(field, listed, row, draft, mistakes)) }
                        }
                    }
                }
            }
        }
    }
}

fn row_input(
    field: &Field,
    listed: &Listed,
    row: usize,
    draft: &Draft,
    mistakes: &[Mistake],
) -> Markup {
    let (input, tag) = (
        field.row_input(row, listed.member),
        field.row_input(row, listed.tag_member),
    );
    let nth = if row == 0 {
        String::new()
    } else {
        format!(" {}", row + 1)
    };
    html! {
        div class="row" {
            div class="tag" {
                label class="unseen" for=(tag) { "Kind of " (listed.one) (nth) }
                select id=(tag) name=(tag) {
                    @for (value, label) in listed.tags { option value=(value) selected[draft.value(&tag) == *value] { (label) } }
                }
            }
            div class="entry" {
                label class="unseen" for=(input) { (field.label) (nth) }
                (bare_input(field, listed.entry, &input, draft, mistakes))
                (mistake(&input, mistakes))
            }
        }
    }
}

fn line_input(
    field: &Field,
    entry: Entry,
    input: &str,
    label: &str,
    draft: &Draft,
    mistakes: &[Mistake],
) -> Markup {
    html! {
        div class="field" {
            label for=(input) { (label) (optional(field)) }
            (bare_input(field, entry, input, draft, mistakes))
            (mistake(input, mistakes))
        }
    }
}

fn bare_input(
    field: &Field,
    entry: Entry,
    input: &str,
    draft: &Draft,
    mistakes: &[Mistake],
) -> Markup {
    let (kind, mode) = match entry {
        Entry::Words => ("text", "text"),
        Entry::Phone => ("tel", "tel"),
        // Not `email`: what a handset takes for an address is the handset's to say.
        Entry::Email => ("text", "email"),
    };
    let wrong = mistakes.iter().any(|mistake| mistake.input == input);
    let described = wrong.then(|| format!("{input}-mistake"));
    html! {
        input id=(input) name=(input) type=(kind) inputmode=(mode) autocomplete="off" dir="auto"
            maxlength=(field.chars_max) required[field.required] value=(draft.value(input))
            aria-invalid=[wrong.then_some("true")] aria-describedby=[described];
    }
}

fn optional(field: &Field) -> Markup {
    html! { @if !field.required { " " span class="optional" { "optional" } } }
}

fn mistake(input: &str, mistakes: &[Mistake]) -> Markup {
    let found = mistakes.iter().find(|mistake| mistake.input == input);
    html! { @if let Some(found) = found { p class="mistake" id={ (input) "-mistake" } { (found.problem) } } }
}

/// The question before deleting.
pub(crate) fn confirm(resource: &Resource, item: &Item, hidden: &Markup) -> Markup {
    let here = format!("/{}", resource.slug);
    let name = resource.name_of(item);
    html! {
        (back(&here, resource.title))
        section class="card narrow" {
            h1 { "Delete this " (resource.one) "?" }
            article class="item still" {
                span class={ "avatar tone-" (tone(name)) } aria-hidden="true" { (initials(name)) }
                div class="what" {
                    h2 { bdi { (name) } @if let Some(store) = &item.store { (store_badge(store)) } }
                    (details(resource, item))
                }
            }
            p { "It will be gone from the handset, and can't be brought back." }
            form method="post" action={ (here) "/delete" } {
                (hidden)
                input type="hidden" name="id" value=(item.id);
                input type="hidden" name="called" value=(name);
                div class="actions" {
                    button class="danger" type="submit" { (Icon::Delete.draw()) span { "Delete " (resource.one) } }
                    a class="button quiet" href=(here) { "Keep it" }
                }
            }
        }
    }
}

/// There is nothing to ask about.
pub(crate) fn gone(resource: &Resource) -> Markup {
    let here = format!("/{}", resource.slug);
    let rest = html! {
        p { "The handset no longer has this " (resource.one) ". It may have been deleted already, here or on the handset." }
        p class="actions" { a class="button" href=(here) { "Back to " (resource.title.to_lowercase()) } }
    };
    html! { (back(&here, resource.title)) (notice("bad", Icon::Trouble, "Not there any more", &rest)) }
}

/// The heading of [`outcome`].
pub(crate) fn outcome_title(resource: &Resource, outcome: &Outcome) -> String {
    let capital = |word: &str| {
        word.chars()
            .next()
            .map(|c| c.to_uppercase().chain(word.chars().skip(1)).collect())
    };
    let one: String = capital(resource.one).unwrap_or_default();
    match (&outcome.progress, &outcome.action) {
        (Progress::UnderWay, _) => "The handset is at work".to_owned(),
        (Progress::Done, Action::Add(_)) => format!("{one} added"),
        (Progress::Done, Action::Delete(_)) => format!("{one} deleted"),
        (Progress::Failed(trouble), Action::Add(_)) if trouble.is_uncertain() => {
            format!("It is not known whether the {} was added", resource.one)
        }
        (Progress::Failed(trouble), Action::Delete(_)) if trouble.is_uncertain() => {
            format!("It is not known whether the {} was deleted", resource.one)
        }
        (Progress::Failed(_), Action::Add(_)) => format!("{one} not added"),
        (Progress::Failed(Trouble::Missing(_)), Action::Delete(_)) => "Already deleted".to_owned(),
        (Progress::Failed(_), Action::Delete(_)) => format!("{one} not deleted"),
    }
}

/// How an action went (R75).
pub(crate) fn outcome(resource: &Resource, submission: SubmissionId, outcome: &Outcome) -> Markup {
    let here = format!("/{}", resource.slug);
    let title = outcome_title(resource, outcome);
    let subject = html! { strong { bdi { (outcome.subject) } } };
    let (class, icon, words) = match (&outcome.progress, &outcome.action) {
        (Progress::UnderWay, _) => (
            "",
            Icon::Waiting,
            html! { p { "It has not answered yet. This page looks again by itself every two seconds." } },
        ),
        (Progress::Done, Action::Add(_)) => (
            "good",
            Icon::Done,
            html! { p { (subject) " is in the handset now." } },
        ),
        (Progress::Done, Action::Delete(_)) => (
            "good",
            Icon::Done,
            html! { p { (subject) " is gone from the handset." } },
        ),
        (Progress::Failed(Trouble::Missing(_)), Action::Delete(_)) => (
            "bad",
            Icon::Trouble,
            html! { p { "The handset no longer had " (subject) ": it was deleted before, here or on the handset." } },
        ),
        (Progress::Failed(trouble), _) => (
            "bad",
            Icon::Trouble,
            html! {
                p class="lead" { (trouble.explain().title) "." }
                (trouble_rest(trouble))
            },
        ),
    };
    let rest = html! {
        (words)
        p class="actions" {
            a class="button" href=(here) { "Back to " (resource.title.to_lowercase()) }
            @match (&outcome.progress, &outcome.action) {
                (Progress::Failed(_), Action::Add(_)) => {
                    a class="button quiet" href={ (here) "/add?of=" (submission) } { "Try again" }
                }
                (Progress::Failed(trouble), Action::Delete(id)) if !matches!(trouble, Trouble::Missing(_)) => {
                    a class="button quiet" href={ (here) "/delete?id=" (encoded(id)) } { "Try again" }
                }
                (Progress::Done, Action::Add(_)) => {
                    a class="button quiet" href={ (here) "/add" } { "Add another" }
                }
                _ => {}
            }
        }
    };
    html! { (back(&here, resource.title)) (notice(class, icon, &title, &rest)) }
}

fn encoded(text: &str) -> String {
    utf8_percent_encode(text, NON_ALPHANUMERIC).to_string()
}

/// One of the style sheet's six tones, always the same for a name.
fn tone(name: &str) -> u32 {
    name.chars().fold(0u32, |sum, c| {
        sum.wrapping_mul(31).wrapping_add(u32::from(c))
    }) % 6
}

fn initials(name: &str) -> String {
    let words = name
        .split_whitespace()
        .filter_map(|word| word.chars().find(|c| c.is_alphanumeric()));
    let letters: Vec<char> = words.collect();
    let shown = letters
        .first()
        .into_iter()
        .chain(letters.get(1..).and_then(<[char]>::last));
    shown.flat_map(|letter| letter.to_uppercase()).collect()
}
