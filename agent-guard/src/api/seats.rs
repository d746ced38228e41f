//! Seats: how many clients there may be at one time, in all and of one owner.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

/// Whose part of the seats a client takes.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Owner {
    /// A user's.
    User(u32),
    /// A session's: whoever is guarded takes none of its user's, which are for keepers.
    Session(String),
}

/// The seats of one kind.
#[derive(Clone, Debug)]
pub(crate) struct Seats {
    taken: Arc<Mutex<HashMap<Owner, usize>>>,
    most: usize,
    most_of_one: usize,
}

impl Seats {
    /// So many seats in all, and for one owner.
    pub(crate) fn new((most, most_of_one): (usize, usize)) -> Self {
        Self { taken: Arc::default(), most, most_of_one }
    }

    /// Takes a seat when one is free; dropping it gives it back.
    pub(crate) fn take(&self, owner: Owner) -> Option<Seat> {
        // The map is whole between any two lines below, so a poisoned lock holds good data.
        let mut taken = self.taken.lock().unwrap_or_else(PoisonError::into_inner);
        let own = taken.get(&owner).copied().unwrap_or(0);
        if taken.values().sum::<usize>() >= self.most || own >= self.most_of_one {
            return None;
        }
        taken.insert(owner.clone(), own + 1);
        Some(Seat { seats: self.clone(), owner })
    }
}

/// A seat that is taken.
#[derive(Debug)]
pub(crate) struct Seat {
    seats: Seats,
    owner: Owner,
}

impl Drop for Seat {
    fn drop(&mut self) {
        let mut taken = self.seats.taken.lock().unwrap_or_else(PoisonError::into_inner);
        match taken.get_mut(&self.owner) {
            Some(count) if *count > 1 => *count -= 1,
            Some(_) | None => drop(taken.remove(&self.owner)),
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
    pub(crate) fn become_stream(&self, streams: &Seats, owner: Owner) -> bool {
        let mut place = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        match streams.take(owner) {
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
    use super::{Owner, Place, Seats};

    #[test]
    fn a_stream_gives_its_brief_seat_back() {
        let (brief, streams) = (Seats::new((1, 1)), Seats::new((1, 1)));
        let user = || Owner::User(1);
        let place = Place::brief(brief.take(user()).unwrap());
        assert!(place.become_stream(&streams, user()) && place.is_stream());
        let next = Place::brief(brief.take(user()).unwrap());
        assert!(!next.become_stream(&streams, user()) && !next.is_stream());
        drop(place);
        assert!(next.become_stream(&streams, user()));
    }

    #[test]
    fn one_user_cannot_take_all_seats_and_a_seat_comes_back() {
        let seats = Seats::new((3, 2));
        let first = seats.take(Owner::User(1)).unwrap();
        let second = seats.take(Owner::User(1)).unwrap();
        assert!(seats.take(Owner::User(1)).is_none(), "one user has had enough");
        let other = seats.take(Owner::User(2)).unwrap();
        assert!(seats.take(Owner::User(3)).is_none(), "all are taken");
        drop(first);
        let again = seats.take(Owner::User(3)).unwrap();
        drop((second, other, again));
        assert!(seats.taken.lock().unwrap().is_empty());
    }

    #[test]
    fn sessions_are_told_apart_and_have_an_end_together() {
        let seats = Seats::new((5, 2));
        let session = |id: &str| seats.take(Owner::Session(id.to_owned()));
        let taken = [session("A"), session("A"), session("B"), session("B")];
        assert!(taken.iter().all(Option::is_some));
        assert!(session("A").is_none() && session("B").is_none(), "each has had enough");
        let last = session("C");
        assert!(last.is_some() && session("D").is_none(), "all are taken");
        drop(taken);
        assert!(session("A").is_some());
    }
}
