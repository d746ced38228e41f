//! What the dialog looks like: the first row says which request it is and how long it waits, the last three what came of
//! the last key, what is typed, and what the keys do. What stands between them is the request, and stays there.
//!
//! It must not change anything.

use super::layout::{self, Value};
use super::{Dialog, Over, Shown};
use crate::api::call::Choice;
use crate::api::types::Request;
use crate::cli::output::{Tone, duration};
use crate::cli::requests::first_end;
use crate::cli::show;
use crate::text::{command_line, escape};
use std::time::Duration;

/// Rows above the request, and below it.
const HEAD: usize = 2;
const FOOT: usize = 4;
/// Rows for why there is no request to be seen.
const REASON: usize = 6;
const TOO_SMALL: &str = "The window is too small to judge a request in.";
/// Time that is short.
const SHORT: Duration = Duration::from_secs(30);

const HELP: &[&str] = &[
    "a   approve: let the held act happen, once. Where its rule demands a reason,",
    "    or the object typed once more, it is asked for; Esc gives up.",
    "d   deny: refuse it, at once and for good",
    "s   skip: show the next one; this one comes back, and its time goes on",
    "q   quit: what waits goes on waiting (Ctrl-C does the same)",
    "",
    "Who has least time left comes first. A key counts only for a request that has",
    "been in sight for a moment. Silence is a refusal.",
    "What the guarded process has chosen (names, arguments) is a claim. [...] marks",
    "what was cut: `agent-guard requests --json` has it whole.",
];

/// A row, and what it means to the reader.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::cli::watch) struct Row {
    /// What it means.
    pub(in crate::cli::watch) tone: Tone,
    /// Its text, which fits.
    pub(in crate::cli::watch) text: String,
}

/// What is to be seen.
#[derive(Clone, Debug)]
pub(in crate::cli::watch) struct Frame {
    /// The rows, from the top; never more than the screen has.
    pub(in crate::cli::watch) rows: Vec<Row>,
    /// Whether a request that can be judged is among them.
    pub(super) shows_request: bool,
}

/// The dialog as it is now.
pub(super) fn frame(dialog: &Dialog, now: Duration) -> Frame {
    let (columns, height) = dialog.size;
    let wrap = |text: &str| layout::wrap(text, columns.max(2), REASON);
    let (head, body, shows_request) = match (&dialog.over, &dialog.shown) {
        (Over::Help, _) => (plain("agent-guard watch"), texts(HELP), false),
        (_, Some(shown)) => {
            let fields = fields(&shown.request, dialog.size);
            let is_shown = fields.is_some();
            (head(dialog, shown, now), fields.unwrap_or_else(|| wrap(TOO_SMALL)), is_shown)
        }
        (_, None) => (plain("agent-guard watch"), wrap(&idle(dialog)), false),
    };
    let blank = plain("");
    let mut rows = vec![head, blank.clone()];
    rows.extend(body.iter().map(|text| plain(text)));
    let above = height.saturating_sub(FOOT - 1);
    rows.truncate(above);
    rows.resize(above, blank);
    rows.extend(foot(dialog));
    rows.truncate(height);
    let cut = |row: Row| Row { text: layout::cut(&row.text, columns), ..row };
    Frame { rows: rows.into_iter().map(cut).collect(), shows_request }
}

fn plain(text: &str) -> Row {
    Row { tone: Tone::Plain, text: text.to_owned() }
}

fn texts(texts: &[&str]) -> Vec<String> {
    texts.iter().map(|text| (*text).to_owned()).collect()
}

fn idle(dialog: &Dialog) -> String {
    match &dialog.lost {
        None if matches!(dialog.over, Over::Interrupted) => "What was being typed has come to nothing.".to_owned(),
        None => "Nothing waits for an answer.".to_owned(),
        Some(why) => format!("Not connected, trying again: {}", escape(why)),
    }
}

/// Which request, how it stands, and how many more there are.
fn head(dialog: &Dialog, shown: &Shown, now: Duration) -> Row {
    let request = &shown.request;
    let left = shown.deadline.saturating_sub(now);
    let (tone, standing) = match (shown.ended, dialog.answering) {
        (Some(_), _) => (Tone::Bad, format!("waits no longer: {}", show::ending(request))),
        (None, Some(Choice::Approve)) => (Tone::Urgent, "is being approved".to_owned()),
        (None, Some(Choice::Deny | Choice::Cancel)) => (Tone::Urgent, "is being denied".to_owned()),
        (None, None) => {
            let tone = if left <= SHORT { Tone::Bad } else { Tone::Urgent };
            (tone, format!("{} left", duration(u64::try_from(left.as_millis()).unwrap_or(u64::MAX))))
        }
    };
    let others = dialog.waiting.keys().filter(|id| **id != request.id).count();
    let others = if others == 1 { "1 more waits".to_owned() } else { format!("{others} more wait") };
    let (columns, _) = dialog.size;
    let text = layout::cut(&format!("request {}: {standing}", escape(&request.id)), columns.saturating_sub(18));
    let gap = columns.saturating_sub(layout::columns(&text) + others.len()).max(2);
    Row { tone, text: format!("{text}{}{others}", " ".repeat(gap)) }
}

/// What came of the last key, what is typed, and what the keys do.
fn foot(dialog: &Dialog) -> [Row; FOOT - 1] {
    let (columns, _) = dialog.size;
    let notice = dialog.notice.as_ref().map(|(tone, text)| Row { tone: *tone, text: escape(text) });
    let blank = plain("");
    match &dialog.over {
        Over::Prompt(prompt) => {
            let (asks, name) = prompt.asks();
            let text = layout::end(&escape(prompt.text()), columns.saturating_sub(name.len() + 3));
            let typed = Row { tone: Tone::Urgent, text: format!("{name}: {text}_") };
            [notice.unwrap_or_else(|| plain(asks)), typed, plain("Enter goes on   Esc gives up, nothing is approved")]
        }
        Over::Interrupted => [notice.unwrap_or(blank.clone()), blank, plain("Enter shows what else waits")],
        Over::Help => [blank.clone(), blank, plain("any key goes back")],
        Over::Nothing => {
            let keys = match &dialog.shown {
                None => "? help   q quit",
                Some(shown) if shown.ended.is_some() => "Enter shows what else waits   ? help   q quit",
                Some(_) => "a approve   d deny   s skip   ? help   q quit",
            };
            [notice.unwrap_or(blank.clone()), blank, plain(keys)]
        }
    }
}

/// The request, if there is room for each of its fields.
fn fields(request: &Request, (columns, height): (usize, usize)) -> Option<Vec<String>> {
    let session = &request.session;
    let text = |text: String| Some(Value::Text(text));
    let given = |text: Option<String>| text.filter(|text| !text.is_empty()).map(Value::Text);
    let act = format!("{} {}", escape(&request.operation), escape(&first_end(request)));
    let rule = format!("{} (label {}, tier {})", request.rule.name, request.label, request.tier);
    let owner = format!("{} ({}), profile {}", session.name, session.id, session.profile);
    let fields = [
        ("what", text(act)),
        ("to", given(request.other.as_deref().map(escape))),
        ("impact", text(request.impact.as_ref().map_or_else(|| "not known".to_owned(), show::impact))),
        ("sent", given(request.sent.map(show::sent))),
        ("intent", Some(Value::List(show::intent(request.intent.as_ref())))),
        ("message", given(request.rule.message.as_deref().map(escape))),
        ("rule", text(escape(&rule))),
        ("approval", given(Some(show::approval(&request.approval, false).join("; ")))),
        ("process", text(show::process(&request.process))),
        ("command", text(escape(&command_line(&request.process.argv)))),
        ("directory", given(request.process.cwd.as_deref().map(escape))),
        ("started by", Some(Value::List(show::ancestry(&request.process)))),
        ("session", text(escape(&owner))),
        ("touched", Some(Value::List(show::credentials(&request.credentials)))),
    ];
    let fields: Vec<_> = fields.into_iter().filter_map(|(name, value)| Some((name, value?))).collect();
    layout::fit(&fields, columns, height.checked_sub(HEAD + FOOT)?)
}
