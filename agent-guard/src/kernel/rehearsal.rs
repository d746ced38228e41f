//! A daemon without programs, for measuring what people wait for: a recorded stream of events stands in the place of the ring,
//! and the maps are there as ever. Built on request only (`--features rehearsal`): nothing is enforced, and nothing attached.

use std::env;
use std::io;
use std::path::Path;

use agent_guard_common::map;
use aya::EbpfLoader;
use tokio::io::AsyncReadExt as _;
use tokio::net::unix::pipe;

use super::error::Error;
use super::events::{EventReader, KernelEvent, decode};
use super::maps::Maps;
use super::{Kernel, Options, load, pins};

/// Names the pipe that the stream comes through.
const VARIABLE: &str = "AGENT_GUARD_REHEARSAL";
/// Records taken at once, as of the ring.
const BATCH: usize = 32;

/// See [`Kernel::start`].
pub(super) fn start(options: &Options) -> Result<(Kernel, EventReader), Error> {
    let path = env::var_os(VARIABLE).ok_or_else(|| Error::WaitForEvents(io::ErrorKind::NotFound.into()))?;
    pins::create(&options.pins)?;
    let claim = pins::claim(&options.pins)?;
    let mut loader = EbpfLoader::new();
    loader.allow_unsupported_maps();
    let mut object = loader.load(load::OBJECT).map_err(|source| Error::LoadObject(Box::new(source)))?;
    drop(object.take_map(map::EVENTS));
    let mut maps = Maps::take(&mut object)?;
    load::make_key(&mut maps)?;
    tracing::warn!("this is a rehearsal: nothing is enforced");
    let stream = Stream::open(Path::new(&path)).map_err(Error::WaitForEvents)?;
    Ok((Kernel { maps, pins: options.pins.clone(), _claim: claim }, EventReader::recorded(stream)))
}

/// Records, each behind its length in four bytes, the lowest first.
pub(super) struct Stream {
    pipe: pipe::Receiver,
    bytes: Vec<u8>,
}

impl Stream {
    fn open(path: &Path) -> io::Result<Self> {
        // Whoever writes may come and go.
        let pipe = pipe::OpenOptions::new().read_write(true).open_receiver(path)?;
        Ok(Self { pipe, bytes: Vec::new() })
    }

    /// The next events; dropping the future loses nothing.
    pub(super) async fn next(&mut self) -> io::Result<Vec<KernelEvent>> {
        loop {
            let events: Vec<_> = std::iter::from_fn(|| self.record()).take(BATCH).collect();
            if !events.is_empty() {
                return Ok(events);
            }
            self.pipe.read_buf(&mut self.bytes).await?;
        }
    }

    fn record(&mut self) -> Option<KernelEvent> {
        let length = u32::from_le_bytes(*self.bytes.first_chunk()?) as usize;
        let event = decode(self.bytes.get(4..4 + length)?);
        self.bytes.drain(..4 + length);
        Some(event)
    }
}
