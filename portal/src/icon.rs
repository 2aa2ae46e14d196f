//! The portal's icons: strokes on a 24 by 24 grid, drawn in the colour of the text around them.

use maud::{Markup, PreEscaped, html};

/// Which icon.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[expect(missing_docs, reason = "each is named after what it stands for")]
pub enum Icon {
    Contacts,
    Notes,
    Calendar,
    Images,
    Sounds,
    Videos,
    Sms,
    Mms,
    Emails,
    IncomingCalls,
    OutgoingCalls,
    Battery,
    Coverage,
    RingMode,
    MakeCall,
    DivertCalls,
    SendSms,
    SendMms,
    SendEmail,
    TakePhoto,
    RecordVideo,
    Handset,
    Back,
    Next,
    Add,
    Delete,
    Done,
    Waiting,
    Trouble,
    Lock,
}

const BUBBLE: &str = "M4 5h16v11H10l-4 4v-4H4z";
const ENVELOPE: &str = "M3 6h18v12H3zM3.5 6.5 12 13l8.5-6.5";
const EARPIECE: &str = "M5 4h4l1.5 4.5-2 1.5a11 11 0 0 0 5.5 5.5l1.5-2L20 15v4a1 1 0 0 1-1 1A15 15 0 0 1 4 5a1 1 0 0 1 1-1z";

impl Icon {
    fn paths(self) -> [&'static str; 2] {
        match self {
            Self::Contacts => [
                "M12 12a4 4 0 1 0 0-8 4 4 0 0 0 0 8z",
                "M4.5 20c.6-3.6 3.6-5.5 7.5-5.5s6.9 1.9 7.5 5.5",
            ],
            Self::Notes => ["M6 3h9l4 4v14H6z", "M9.5 11h6M9.5 15h6M14.5 3v4.5H19"],
            Self::Calendar => ["M4 6h16v14H4zM4 10.5h16", "M8.5 3.5V8M15.5 3.5V8"],
            Self::Images => [
                "M4 4.5h16v15H4z",
                "m4.5 17 5-5 3.5 3.5 3-3 3.5 3.5M15.5 9h.01",
            ],
            Self::Sounds => [
                "M9 18V5.5l10-2V16",
                "M9 18a2.5 2.5 0 1 1-5 0 2.5 2.5 0 0 1 5 0zM19 16a2.5 2.5 0 1 1-5 0 2.5 2.5 0 0 1 5 0z",
            ],
            Self::Videos => ["M3.5 5h17v14h-17z", "m10 9 5 3-5 3z"],
            Self::Sms => [BUBBLE, "M8 10.5h.01M12 10.5h.01M16 10.5h.01"],
            Self::Mms => [BUBBLE, "m7.5 13 3-3.5 2 2 1.5-1.5 2.5 3"],
            Self::Emails => [ENVELOPE, ""],
            Self::IncomingCalls => [EARPIECE, "M20 4l-5 5m0-4v4h4"],
            Self::OutgoingCalls => [EARPIECE, "M15 9l5-5m-4 0h4v4"],
            Self::Battery => ["M3 8h15v8H3zM21 11v2", "M6 11v2M9 11v2M12 11v2"],
            Self::Coverage => ["M5 19v-3M10 19v-6.5M15 19V9M20 19V5", ""],
            Self::RingMode => ["M6 16V11a6 6 0 0 1 12 0v5l1.5 2h-15z", "M10 20.5h4"],
            Self::MakeCall => [EARPIECE, ""],
            Self::DivertCalls => ["M5 20v-7a4 4 0 0 1 4-4h10", "m15 5 4 4-4 4"],
            Self::SendSms => [BUBBLE, "M8.5 10.5h7m-2.5-2.5 2.5 2.5-2.5 2.5"],
            Self::SendMms => [
                "M4 5h16v11H10l-4 4v-4H4z",
                "M12 13.5v-6m-2.5 2.5 2.5-2.5 2.5 2.5",
            ],
            Self::SendEmail => ["M21 3 3 10.5l7 3 3 7z", "M10 13.5 21 3"],
            Self::TakePhoto => [
                "M3.5 7.5h4L9 5h6l1.5 2.5h4V19h-17z",
                "M12 16.5a3.5 3.5 0 1 0 0-7 3.5 3.5 0 0 0 0 7z",
            ],
            Self::RecordVideo => ["M3 7h12v10H3z", "m15 11 6-3.5v9L15 13"],
            Self::Handset => ["M7 2.5h10v19H7z", "M10.5 18.5h3"],
            Self::Back => ["m14.5 5-7 7 7 7", ""],
            Self::Next => ["m9.5 5 7 7-7 7", ""],
            Self::Add => ["M12 5v14M5 12h14", ""],
            Self::Delete => [
                "M5 7h14M10 7V4.5h4V7",
                "M6.5 7l1 13h9l1-13M10.5 11v5.5M13.5 11v5.5",
            ],
            Self::Done => ["m5 12.5 4.5 4.5L19 7.5", ""],
            Self::Waiting => ["M12 21a9 9 0 1 0 0-18 9 9 0 0 0 0 18z", "M12 7v5l3.5 2"],
            Self::Trouble => ["M12 3.5 21.5 20h-19z", "M12 10v4.5M12 17.25h.01"],
            Self::Lock => ["M5.5 11h13v9.5h-13z", "M8.5 11V8a3.5 3.5 0 0 1 7 0v3"],
        }
    }

    /// The drawing. It says nothing to a screen reader: the words beside it do.
    pub fn draw(self) -> Markup {
        let [first, second] = self.paths();
        html! {
            svg class="icon" viewBox="0 0 24 24" aria-hidden="true" focusable="false" {
                path d=(first) {}
                @if !second.is_empty() { path d=(second) {} }
            }
        }
    }
}

/// The mark of the site: a handset's line that goes on and on.
pub(crate) fn mark() -> Markup {
    PreEscaped(MARK.to_owned())
}

/// The same as a file, for browsers' tabs.
pub(crate) const FAVICON: &str = concat!(
    r##"<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 32 32"><rect width="32" height="32" rx="8" fill="#0b6e69"/>"##,
    r##"<path d="M4 17h5l3-7 4.5 13 3.5-9 2 3h6" fill="none" stroke="#fff" stroke-width="2.6" "##,
    r##"stroke-linecap="round" stroke-linejoin="round"/></svg>"##
);

const MARK: &str = concat!(
    r##"<svg class="mark" viewBox="0 0 32 32" aria-hidden="true" focusable="false"><rect width="32" height="32" rx="8"/>"##,
    r##"<path d="M4 17h5l3-7 4.5 13 3.5-9 2 3h6"/></svg>"##
);
