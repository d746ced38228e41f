//! What is remembered of a socket: for whom it was judged, and what that rested on.
//!
//! A connection outlives the verdict on it: once a session has touched a credential, what it sends on a connection from
//! before is judged as a new one would be, and once. Must not know where a connection goes.

use agent_guard_common::control::POLICY;
use agent_guard_common::counter::Place;
use agent_guard_common::egress::{SocketState, settled};
use aya_ebpf::bindings::BPF_SK_STORAGE_GET_F_CREATE;
use aya_ebpf::helpers::generated::bpf_sk_storage_get;

use crate::credential;
use crate::endpoint::Endpoint;
use crate::hook::Caller;
use crate::kernel::{Pointer, control, count};
use crate::maps::CONNECTIONS;

/// What is remembered of a socket. It lives as long as the socket, which whoever holds this holds.
#[derive(Clone, Copy)]
pub struct Memory(*mut SocketState);

impl Memory {
    /// What is remembered; `None` for a socket that no guarded task has used.
    #[inline(always)]
    pub fn of(sock: Pointer) -> Option<Self> {
        Self::get(sock, core::ptr::null_mut(), 0)
    }

    /// The same, begun when there is nothing yet. What cannot be remembered is counted.
    #[inline(always)]
    pub fn begun(sock: Pointer) -> Option<Self> {
        let mut nothing = SocketState::ZERO;
        let memory = Self::get(sock, &raw mut nothing, u64::from(BPF_SK_STORAGE_GET_F_CREATE));
        if memory.is_none() {
            count(Place::TagFailed, 0);
        }
        memory
    }

    #[inline(always)]
    fn get(sock: Pointer, value: *mut SocketState, flags: u64) -> Option<Self> {
        let map = (&raw const CONNECTIONS).cast_mut().cast();
        // SAFETY: the map is socket storage of `SocketState`, the socket is one that the verifier knows, and the value, if
        // there is one, lives on.
        let state = unsafe { bpf_sk_storage_get(map, sock.raw(), value.cast(), flags) };
        if state.is_null() { None } else { Some(Self(state.cast())) }
    }

    /// A part of it.
    #[inline(always)]
    pub fn part<T: Copy>(self, part: impl FnOnce(&SocketState) -> T) -> T {
        // SAFETY: a value of the storage lives as long as the socket.
        part(unsafe { &*self.0 })
    }

    /// Changes it.
    #[inline(always)]
    pub fn change(self, change: impl FnOnce(&mut SocketState)) {
        // SAFETY: as for `part`; each field is a plain number, and two that change it at once leave one of their values.
        change(unsafe { &mut *self.0 });
    }

    /// Notes that a connection to an endpoint was judged for a caller.
    #[inline(always)]
    pub fn settle(self, caller: &Caller, endpoint: &Endpoint) {
        let (serial, session) = caller.tag.part(|tag| (tag.serial, tag.session));
        let judged = settled(control(POLICY), credential::counted(caller));
        self.change(|state| {
            state.serial = serial;
            state.session = session;
            state.settled = judged;
            state.peer = endpoint.address;
            state.port = endpoint.port;
        });
    }

    /// Whether a connection to this endpoint was judged for a caller, and nothing that the verdict rested on has changed.
    #[inline(always)]
    pub fn is_settled(self, caller: &Caller, endpoint: &Endpoint) -> bool {
        let serial = caller.tag.part(|tag| tag.serial);
        let judged = settled(control(POLICY), credential::counted(caller));
        self.part(|state| {
            state.serial == serial
                && state.settled == judged
                && state.port == endpoint.port
                && u128::from_ne_bytes(state.peer) == u128::from_ne_bytes(endpoint.address)
        })
    }
}
