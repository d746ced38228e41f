//! Seats: how many clients there may be at one time, in all and of one user.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

/// The seats of one kind.
#[derive(Clone, Debug)]
pub(crate) struct Seats {
    taken: Arc<Mutex<HashMap<u32, usize>>>,
    most: usize,
    most_of_one: usize,
}

impl Seats {
    /// So many seats in all, and for one user.
    pub(crate) fn new(most: usize, most_of_one: usize) -> Self {
        Self { taken: Arc::default(), most, most_of_one }
    }

    /// Takes a seat when one is free; dropping it gives it back.
    pub(crate) fn take(&self, uid: u32) -> Option<Seat> {
        // The map is whole between any two lines below, so a poisoned lock holds good data.
        let mut taken = self.taken.lock().unwrap_or_else(PoisonError::into_inner);
        let own = taken.get(&uid).copied().unwrap_or(0);
        if taken.values().sum::<usize>() >= self.most || own >= self.most_of_one {
            return None;
        }
        taken.insert(uid, own + 1);
        Some(Seat { seats: self.clone(), uid })
    }
}

/// A seat that is taken.
#[derive(Debug)]
pub(crate) struct Seat {
    seats: Seats,
    uid: u32,
}

impl Drop for Seat {
    fn drop(&mut self) {
        let mut taken = self.seats.taken.lock().unwrap_or_else(PoisonError::into_inner);
        match taken.get_mut(&self.uid) {
            Some(count) if *count > 1 => *count -= 1,
            Some(_) | None => drop(taken.remove(&self.uid)),
        }
    }
}

/// Where a connection sits, for as long as it lasts: among the brief ones until it becomes a stream.
#[derive(Clone, Debug)]
pub(crate) struct Place(Arc<Mutex<(Seat, bool)>>);

impl Place {
    /// A brief connection's place.
    pub(crate) fn brief(seat: Seat) -> Self {
        Self(Arc::new(Mutex::new((seat, false))))
    }

    /// Changes to a seat among the streams, if one is free.
    pub(crate) fn become_stream(&self, streams: &Seats) -> bool {
        let mut place = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        match streams.take(place.0.uid) {
            Some(seat) => {
                *place = (seat, true);
                true
            }
            None => false,
        }
    }

    /// Whether it has changed.
    pub(crate) fn is_stream(&self) -> bool {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).1
    }
}

#[cfg(test)]
mod tests {
    use super::{Place, Seats};

    #[test]
    fn a_stream_gives_its_brief_seat_back() {
        let (brief, streams) = (Seats::new(1, 1), Seats::new(1, 1));
        let place = Place::brief(brief.take(1).unwrap());
        assert!(place.become_stream(&streams) && place.is_stream());
        let next = Place::brief(brief.take(1).unwrap());
        assert!(!next.become_stream(&streams) && !next.is_stream());
        drop(place);
        assert!(next.become_stream(&streams));
    }

    #[test]
    fn one_user_cannot_take_all_seats_and_a_seat_comes_back() {
        let seats = Seats::new(3, 2);
        let first = seats.take(1).unwrap();
        let second = seats.take(1).unwrap();
        assert!(seats.take(1).is_none(), "one user has had enough");
        let other = seats.take(2).unwrap();
        assert!(seats.take(3).is_none(), "all are taken");
        drop(first);
        let again = seats.take(3).unwrap();
        drop((second, other, again));
        assert!(seats.taken.lock().unwrap().is_empty());
    }
}
