//! One TCP connection of a client: messages with their length before them, several at a time, answered as they come
//! about (RFC 7766). A client that is slow, or does not read, holds up nobody but itself.

use core::time::Duration;
use std::io;
use std::sync::Arc;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::task::JoinSet;
use tokio::time::{Instant, timeout};

use super::message::Packet;
use super::server::{Desk, LONGEST_QUERY, Room};
use super::turn;
use super::upstream::{Transport, framed};

/// Time for the next whole query, and for taking an answer.
const IDLE: Duration = Duration::from_secs(10);
/// Queries of one connection under way. Their answers wait in memory until the client takes them.
const PIPELINED: usize = 8;
/// Bytes of a message's length.
const PREFIX: usize = 2;

/// Serves a connection to its end.
pub(super) async fn converse(desk: Arc<Desk>, stream: TcpStream, _room: Room) {
    if let Err(error) = serve(&desk, stream).await {
        // A client that hangs up or speaks no DNS: its own affair.
        tracing::debug!(session = desk.session, %error, "a connection ended early");
    }
}

async fn serve(desk: &Arc<Desk>, mut stream: TcpStream) -> io::Result<()> {
    let mut unread = Vec::with_capacity(PREFIX + LONGEST_QUERY);
    let mut answers: JoinSet<Vec<u8>> = JoinSet::new();
    let mut at_end = false;
    let mut deadline = Instant::now() + IDLE;
    loop {
        while answers.len() < PIPELINED {
            let Some(packet) = next_message(&mut unread)? else { break };
            deadline = Instant::now() + IDLE;
            match Packet::read(&packet) {
                Packet::Query(query) => {
                    let Some(room) = desk.query_room() else { return Err(io::ErrorKind::QuotaExceeded.into()) };
                    let desk = Arc::clone(desk);
                    drop(answers.spawn(async move {
                        let answer = turn::take(&desk, &query, Transport::Stream).await;
                        drop(room);
                        answer
                    }));
                }
                Packet::Reply(reply) => write(&mut stream, &reply).await?,
                Packet::Silence => {}
            }
        }
        if answers.is_empty() && at_end {
            return Ok(());
        }
        let may_read = !at_end && answers.len() < PIPELINED;
        tokio::select! {
            Some(answer) = answers.join_next() => {
                write(&mut stream, &answer.map_err(io::Error::other)?).await?;
                deadline = Instant::now() + IDLE;
            }
            read = stream.read_buf(&mut unread), if may_read => at_end = read? == 0,
            // While an answer is awaited the client has nothing to do.
            () = tokio::time::sleep_until(deadline), if answers.is_empty() => return Err(io::ErrorKind::TimedOut.into()),
        }
    }
}

/// Takes the next whole message out of what has been read.
fn next_message(unread: &mut Vec<u8>) -> io::Result<Option<Vec<u8>>> {
    let Some((prefix, rest)) = unread.split_first_chunk::<PREFIX>() else { return Ok(None) };
    let length = usize::from(u16::from_be_bytes(*prefix));
    if length > LONGEST_QUERY {
        return Err(io::ErrorKind::FileTooLarge.into());
    }
    let Some(message) = rest.get(..length).map(<[u8]>::to_vec) else { return Ok(None) };
    unread.drain(..PREFIX + length);
    Ok(Some(message))
}

async fn write(stream: &mut TcpStream, message: &[u8]) -> io::Result<()> {
    timeout(IDLE, stream.write_all(&framed(message))).await.unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into()))
}

#[cfg(test)]
mod tests {
    use super::{LONGEST_QUERY, next_message};

    #[test]
    fn messages_are_taken_whole_and_one_by_one() {
        let mut unread = Vec::new();
        for byte in [0, 2, b'a'] {
            unread.push(byte);
            assert_eq!(next_message(&mut unread).unwrap(), None);
        }
        unread.extend_from_slice(b"b\0\0\0\x01c\0");
        let taken: Vec<_> = std::iter::from_fn(|| next_message(&mut unread).unwrap()).collect();
        assert_eq!(taken, [b"ab".to_vec(), Vec::new(), b"c".to_vec()]);
        assert_eq!(unread, [0]);
    }

    #[test]
    fn a_message_that_is_too_long_for_a_query_is_not_waited_for() {
        let longer = u16::try_from(LONGEST_QUERY + 1).unwrap();
        assert!(next_message(&mut longer.to_be_bytes().to_vec()).is_err());
    }
}
