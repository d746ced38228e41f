//! A connection whose client must take something now and then: one that takes nothing of what waits for it is gone.
//!
//! A stream has no end of its own, and HTTP has no word for a reader that does not read. It must not know HTTP.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::{Sleep, sleep};

/// The connection.
#[derive(Debug)]
pub(super) struct Impatient<S> {
    stream: S,
    patience: Duration,
    /// Since a write found no room.
    stalled: Option<Pin<Box<Sleep>>>,
}

impl<S> Impatient<S> {
    /// Gives the other side so long to take something.
    pub(super) const fn new(stream: S, patience: Duration) -> Self {
        Self { stream, patience, stalled: None }
    }

    fn in_time<T>(&mut self, context: &mut Context<'_>, written: Poll<io::Result<T>>) -> Poll<io::Result<T>> {
        if written.is_ready() {
            self.stalled = None;
            return written;
        }
        let patience = self.patience;
        let stalled = self.stalled.get_or_insert_with(|| Box::pin(sleep(patience)));
        stalled.as_mut().poll(context).map(|()| Err(io::ErrorKind::TimedOut.into()))
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Impatient<S> {
    fn poll_write(self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        let written = Pin::new(&mut this.stream).poll_write(context, bytes);
        this.in_time(context, written)
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        let written = Pin::new(&mut this.stream).poll_write_vectored(context, slices);
        this.in_time(context, written)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().stream).poll_flush(context)
    }

    fn poll_shutdown(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().stream).poll_shutdown(context)
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Impatient<S> {
    fn poll_read(self: Pin<&mut Self>, context: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().stream).poll_read(context, buffer)
    }
}

#[cfg(test)]
mod tests {
    use super::Impatient;
    use std::io;
    use std::time::Duration;
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    use tokio::net::UnixStream;

    const PATIENCE: Duration = Duration::from_millis(600);
    /// More than any socket holds.
    const MUCH: usize = 8 << 20;

    #[tokio::test]
    async fn whoever_takes_nothing_is_gone() {
        let (ours, _theirs) = UnixStream::pair().unwrap();
        let error = Impatient::new(ours, PATIENCE).write_all(&vec![0; MUCH]).await.unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::TimedOut);
    }

    #[tokio::test]
    async fn whoever_takes_little_by_little_is_waited_for() {
        let (ours, mut theirs) = UnixStream::pair().unwrap();
        let reading = tokio::spawn(async move {
            let mut buffer = vec![0; MUCH / 10];
            let mut taken = 0;
            while taken < MUCH {
                tokio::time::sleep(PATIENCE / 20).await;
                taken += theirs.read(&mut buffer).await.unwrap();
            }
        });
        Impatient::new(ours, PATIENCE).write_all(&vec![0; MUCH]).await.unwrap();
        reading.await.unwrap();
    }

    #[tokio::test]
    async fn silence_on_both_sides_is_no_stall() {
        let (ours, mut theirs) = UnixStream::pair().unwrap();
        let mut ours = Impatient::new(ours, PATIENCE);
        ours.write_all(b"a").await.unwrap();
        tokio::time::sleep(2 * PATIENCE).await;
        ours.write_all(b"b").await.unwrap();
        let mut taken = [0; 2];
        theirs.read_exact(&mut taken).await.unwrap();
        assert_eq!(&taken, b"ab");
    }
}
