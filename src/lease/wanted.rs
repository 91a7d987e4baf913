//! What the server has to be: a pure decision.

use std::time::Duration;

use crate::lease::renewal::Standing;
use crate::lease::validity::Now;

/// What the server has to be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Wanted {
    /// Writable, for the time that is left.
    Writable(Duration),
    /// Read-only.
    ReadOnly,
    /// As it is.
    Unchanged,
}

/// What the server has to be; `has_held`: whether this keeper ever had the lease; `is_young`: whether it has just
/// started, and may not have had an answer from the store.
pub(super) fn wanted(standing: &Standing, now: Now, has_held: bool, is_young: bool) -> Wanted {
    match standing {
        Standing::Unknown if is_young => Wanted::Unchanged,
        // Before the first epoch there is nothing to protect; after it, the object was deleted.
        Standing::Nobody if !has_held => Wanted::Unchanged,
        Standing::Ours {
            validity, fenced, ..
        } => match validity.left(now) {
            left if left > Duration::ZERO && *fenced => Wanted::Writable(left),
            _ => Wanted::ReadOnly,
        },
        Standing::Unknown | Standing::Nobody | Standing::Theirs { .. } => Wanted::ReadOnly,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::layout::Epoch;
    use crate::lease::validity::Validity;

    #[test]
    fn only_a_valid_lease_of_the_newest_epoch_makes_writable() {
        let now = Now::read();
        let ours = |lease, fenced| Standing::Ours {
            epoch: Epoch::FIRST,
            validity: Validity {
                from: now,
                lease: Duration::from_secs(lease),
            },
            fenced,
        };
        let of = |standing: &Standing| wanted(standing, now, true, false);
        assert_eq!(
            of(&ours(20, true)),
            Wanted::Writable(Duration::from_secs(20))
        );
        assert_eq!(of(&ours(0, true)), Wanted::ReadOnly, "expired");
        assert_eq!(
            of(&ours(20, false)),
            Wanted::ReadOnly,
            "the other side may be writable"
        );
        let theirs = Standing::Theirs {
            epoch: Epoch::FIRST,
            side: "there".parse().unwrap(),
        };
        assert_eq!(of(&theirs), Wanted::ReadOnly);
        assert_eq!(of(&Standing::Unknown), Wanted::ReadOnly);
        assert_eq!(of(&Standing::Nobody), Wanted::ReadOnly, "deleted");
    }

    #[test]
    fn a_server_without_a_lease_yet_is_left_as_it_is() {
        let of = |standing, is_young| wanted(&standing, Now::read(), false, is_young);
        assert_eq!(of(Standing::Nobody, false), Wanted::Unchanged);
        assert_eq!(of(Standing::Unknown, true), Wanted::Unchanged);
        assert_eq!(of(Standing::Unknown, false), Wanted::ReadOnly);
    }
}
