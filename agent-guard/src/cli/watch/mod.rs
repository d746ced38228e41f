//! `watch`: a person at a terminal is shown each request that waits, and answers it with a key.
//!
//! This file owns the terminal and the way of an answer. It must not know what a key means: that is the dialog's.

pub(super) mod dialog;
mod feed;

use super::Error;
use super::output::Style;
use crate::api::client::Client;
use crate::system::inbox::{Inbox, Signal};
use crate::system::screen::Screen;
use crate::system::{clock, job, terminal};
use dialog::{Act, Dialog, Event};
use std::io;
use std::time::Duration;
use tokio::sync::mpsc;

/// How often what is shown is looked at anew: the time that is left goes by.
const TICK: Duration = Duration::from_millis(200);
/// Changes that may wait for the dialog.
const QUEUED: usize = 64;
/// What ends it in good order, and what a shell stops and continues it with.
const SIGNALS: [Signal; 6] =
    [Signal::SIGTERM, Signal::SIGHUP, Signal::SIGINT, Signal::SIGQUIT, Signal::SIGTSTP, Signal::SIGCONT];

/// Asks until the person has enough.
pub(super) async fn run(client: Client) -> Result<(), Error> {
    if !terminal::is_interactive() {
        return Err(Error::NoTerminal);
    }
    let changes = feed::open(&client).await?;
    // Before the terminal is taken: from here on no signal leaves it behind.
    let signals = Inbox::open(&SIGNALS).map_err(Error::Terminal)?;
    let screen = Screen::take().map_err(Error::Terminal)?;
    let (sender, heard) = mpsc::channel(QUEUED);
    let following = tokio::spawn(feed::follow(client.clone(), changes, sender.clone()));
    let dialog = Dialog::new(screen.size().map_err(Error::Terminal)?);
    let watch = Watch { client, dialog, screen, signals, style: Style::of_stdout(), sender, heard };
    let ended = watch.go_on().await.map_err(Error::Terminal);
    following.abort();
    ended
}

/// The dialog, and what it is held with.
struct Watch {
    client: Client,
    dialog: Dialog,
    screen: Screen,
    signals: Inbox,
    style: Style,
    sender: mpsc::Sender<Event>,
    heard: mpsc::Receiver<Event>,
}

impl Watch {
    async fn go_on(mut self) -> io::Result<()> {
        let mut tick = tokio::time::interval(TICK);
        loop {
            self.show()?;
            let event = tokio::select! {
                input = self.screen.next() => Event::Input(input?),
                // Never without a sender: one is ours.
                Some(event) = self.heard.recv() => event,
                arrival = self.signals.next() => match arrival?.signal {
                    Signal::SIGTSTP => self.pause()?,
                    Signal::SIGCONT => self.come_back()?,
                    _ => return Ok(()),
                },
                _ = tick.tick() => Event::Tick,
            };
            if !self.take(event)? {
                return Ok(());
            }
            // Many that are known already are one picture.
            while let Ok(event) = self.heard.try_recv() {
                self.take(event)?;
            }
        }
    }

    fn show(&mut self) -> io::Result<()> {
        let frame = self.dialog.frame(now());
        let rows = frame.rows.iter().map(|row| self.style.tone(row.tone, &row.text)).collect();
        self.screen.draw(rows)?;
        // Only now: a terminal may take its time.
        self.dialog.drawn(&frame, now());
        Ok(())
    }

    /// Carries out what comes of an event; whether to go on.
    fn take(&mut self, event: Event) -> io::Result<bool> {
        match self.dialog.step(event, now()) {
            None => {}
            Some(Act::Quit) => return Ok(false),
            Some(Act::Pause) => {
                let returned = self.pause()?;
                self.dialog.step(returned, now());
            }
            Some(Act::Answer { id, choice, said }) => {
                let (client, sender) = (self.client.clone(), self.sender.clone());
                tokio::spawn(async move {
                    let answered = client.answer(&id, choice, &said).await;
                    let answered = answered.map(Box::new).map_err(|error| error.to_string());
                    // Whoever has quit has seen enough.
                    drop(sender.send(Event::Answered(answered)).await);
                });
            }
        }
        Ok(true)
    }

    /// Leaves the terminal to the shell, which sees a job that has stopped.
    fn pause(&mut self) -> io::Result<Event> {
        self.screen.lend();
        job::stop_self()?;
        self.come_back()
    }

    fn come_back(&mut self) -> io::Result<Event> {
        self.screen.retake()?;
        Ok(Event::Returned)
    }
}

fn now() -> Duration {
    Duration::from_nanos(clock::monotonic_ns())
}
