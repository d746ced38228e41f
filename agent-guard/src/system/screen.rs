//! A terminal that is taken over: its keys as they are typed, its whole screen, and the way back to how it was.
//!
//! It must not know what is shown, or what a key means.

use std::io::{self, Write as _};
use std::panic;
use std::sync::Once;
use std::sync::atomic::{AtomicBool, Ordering};

use crossterm::cursor::{Hide, MoveTo, Show};
use crossterm::event::{
    DisableBracketedPaste, EnableBracketedPaste, Event, EventStream, KeyCode, KeyEvent, KeyEventKind, KeyModifiers,
};
use crossterm::style::Print;
use crossterm::terminal::{
    self, Clear, ClearType, DisableLineWrap, EnableLineWrap, EnterAlternateScreen, LeaveAlternateScreen,
};
use crossterm::{execute, queue};
use rustix::termios::{QueueSelector, tcflush};
use tokio_stream::StreamExt as _;

/// Whether this process has the terminal, for the hook that a panic runs.
static TAKEN: AtomicBool = AtomicBool::new(false);

/// What happens at the terminal.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Input {
    /// A key was typed.
    Key(Key),
    /// Text was pasted, in one piece.
    Pasted(String),
    /// The window has another size: columns and rows.
    Resized(usize, usize),
}

/// A key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Key {
    /// A character by itself.
    Character(char),
    /// A character with Ctrl held down.
    Control(char),
    /// Enter.
    Enter,
    /// Escape.
    Escape,
    /// Backspace.
    Backspace,
    /// Whatever else there is.
    Other,
}

/// The terminal, until it is dropped.
#[derive(Debug)]
pub struct Screen {
    events: EventStream,
    drawn: Vec<String>,
}

impl Screen {
    /// Takes the terminal. What was typed before is forgotten: it was meant for something else.
    pub fn take() -> io::Result<Self> {
        static HOOK: Once = Once::new();
        HOOK.call_once(|| {
            let before = panic::take_hook();
            panic::set_hook(Box::new(move |panic| {
                give_back();
                before(panic);
            }));
        });
        take()?;
        Ok(Self { events: EventStream::new(), drawn: Vec::new() })
    }

    /// Takes the terminal anew, after somebody else may have had it. A shell that has had it without being lent it has
    /// set it to its own liking: the library sets nothing where it takes the terminal for taken.
    pub fn retake(&mut self) -> io::Result<()> {
        give_back();
        self.drawn.clear();
        take()
    }

    /// Gives the terminal back for a while.
    pub fn lend(&mut self) {
        give_back();
    }

    /// Columns and rows.
    pub fn size(&self) -> io::Result<(usize, usize)> {
        let (columns, rows) = terminal::size()?;
        Ok((usize::from(columns), usize::from(rows)))
    }

    /// What happens next. Nothing is lost when it is not waited for.
    pub async fn next(&mut self) -> io::Result<Input> {
        loop {
            let event = self.events.next().await.ok_or(io::ErrorKind::UnexpectedEof)??;
            match event {
                Event::Key(key) if key.kind != KeyEventKind::Release => return Ok(Input::Key(meaning(key))),
                Event::Paste(text) => return Ok(Input::Pasted(text)),
                Event::Resize(columns, rows) => {
                    self.drawn.clear();
                    return Ok(Input::Resized(columns.into(), rows.into()));
                }
                Event::Key(_) | Event::Mouse(_) | Event::FocusGained | Event::FocusLost => {}
            }
        }
    }

    /// Puts rows on the screen, from the top, as many as it has. A row that is wider than the screen
    /// is cut by the terminal, and never goes on in the next one.
    pub fn draw(&mut self, rows: Vec<String>) -> io::Result<()> {
        if rows == self.drawn {
            return Ok(());
        }
        let mut stdout = io::stdout().lock();
        for (row, y) in rows.iter().zip(0..) {
            // Cleared before: the cursor stays upon the last character of a row that fills the line.
            queue!(stdout, MoveTo(0, y), Clear(ClearType::CurrentLine), Print(row))?;
        }
        stdout.flush()?;
        self.drawn = rows;
        Ok(())
    }
}

impl Drop for Screen {
    fn drop(&mut self) {
        give_back();
    }
}

fn take() -> io::Result<()> {
    // From here on half of it may be done, which is given back as well.
    TAKEN.store(true, Ordering::SeqCst);
    let taken = terminal::enable_raw_mode().and_then(|()| {
        tcflush(io::stdin(), QueueSelector::IFlush)?;
        let clear = Clear(ClearType::All);
        execute!(io::stdout(), EnterAlternateScreen, EnableBracketedPaste, DisableLineWrap, Hide, clear)
    });
    taken.inspect_err(|_| give_back())
}

/// Leaves the terminal as it was. One that is gone, or that does not listen, needs nothing.
fn give_back() {
    if TAKEN.swap(false, Ordering::SeqCst) {
        drop(execute!(io::stdout(), Show, EnableLineWrap, DisableBracketedPaste, LeaveAlternateScreen));
        drop(terminal::disable_raw_mode());
    }
}

fn meaning(key: KeyEvent) -> Key {
    match (key.code, key.modifiers) {
        // A capital comes with Shift; with Alt, which Escape before it looks like, it is not the letter.
        (KeyCode::Char(character), KeyModifiers::NONE | KeyModifiers::SHIFT) => Key::Character(character),
        (KeyCode::Char(character), KeyModifiers::CONTROL) => Key::Control(character),
        (KeyCode::Enter, KeyModifiers::NONE) => Key::Enter,
        (KeyCode::Esc, KeyModifiers::NONE) => Key::Escape,
        (KeyCode::Backspace, KeyModifiers::NONE) => Key::Backspace,
        _ => Key::Other,
    }
}

#[cfg(test)]
mod tests {
    use super::{Key, meaning};
    use crossterm::event::{KeyCode, KeyEvent, KeyModifiers};

    #[test]
    fn a_letter_counts_as_itself_only_where_nothing_is_held_down_with_it() {
        let key = |modifiers| meaning(KeyEvent::new(KeyCode::Char('a'), modifiers));
        assert_eq!(key(KeyModifiers::NONE), Key::Character('a'));
        assert_eq!(key(KeyModifiers::CONTROL), Key::Control('a'));
        assert_eq!(key(KeyModifiers::ALT), Key::Other);
        assert_eq!(key(KeyModifiers::CONTROL | KeyModifiers::ALT), Key::Other);
        assert_eq!(meaning(KeyEvent::new(KeyCode::F(1), KeyModifiers::NONE)), Key::Other);
    }
}
