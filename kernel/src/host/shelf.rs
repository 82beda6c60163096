//! What the host keeps for others, as far as the complex is concerned: when it is told what is
//! offered and how far its words about leases were taken in. Where fragments lie is the shell's.

use isos_base::fragment::{Proof, ProofAsked};
use isos_base::storage::{
    LeaseNews, MEND_PLACES_MAX, MendOrder, MendReport, STORAGE_HOSTS_MAX, STORAGE_NEWS_MAX,
    ShelfReport,
};
use isos_base::time::Time;
use isos_base::wire::ToComplex;

use super::session::Link;
use super::tuning::{NEWS_AT_ONCE_MAX, OFFER_EVERY, OFFER_MINOR_EVERY, PROOFS_AT_ONCE_MAX};
use super::{Effect, Host, HostEvent, SessionId};

/// The shelf, as the session sees it.
#[derive(Debug, Default)]
pub(super) struct Shelf {
    /// How it stands; nothing while this host is no keeper.
    stands: Option<ShelfReport>,
    /// Whether a session is wanted for its sake.
    stays: bool,
    /// What was said of it in this session, and when.
    told: Option<(ShelfReport, Time)>,
    /// What the complex knows of its offer, from whatever session.
    known: Option<ShelfReport>,
    /// Batches of news that the shell is taking in.
    taking: usize,
    /// Proofs that the shell is making.
    proving: usize,
    /// Whether the shell is mending.
    mending: bool,
}

/// Whether somebody could be promised what is not there any more, or what is not known yet.
fn is_pressing(known: &ShelfReport, now: &ShelfReport) -> bool {
    let (old, new) = (&known.offer, &now.offer);
    known.heard != now.heard
        || new.bytes < old.bytes
        || new.price_min != old.price_min
        || new.addresses != old.addresses
        || new.relay != old.relay
}

impl Shelf {
    /// Whether a session is wanted though there is neither work nor news of it.
    pub(super) const fn stays(&self) -> bool {
        self.stays
    }

    /// Whether the complex should hear of it before it lets us come back: for the first time, or
    /// that there is less than it believes.
    pub(super) fn is_urgent(&self) -> bool {
        let less = |known: &ShelfReport, now: &ShelfReport| now.offer.bytes < known.offer.bytes;
        let Some(now) = &self.stands else { return false };
        self.known.as_ref().map_or(self.stays, |known| less(known, now))
    }

    /// Whether the complex waits for an answer.
    pub(super) const fn is_asked(&self) -> bool {
        self.proving > 0 || self.mending
    }

    /// A new session knows nothing of what was said before.
    pub(super) fn session_begins(&mut self) {
        self.told = None;
    }

    /// When the complex is told, if it is connected.
    pub(super) fn due(&self) -> Option<Time> {
        let now = self.stands.as_ref()?;
        match &self.told {
            None => Some(Time(0)),
            Some((told, _)) if told == now => None,
            Some((told, at)) if is_pressing(told, now) => Some(*at + OFFER_EVERY),
            Some((_, at)) => Some(*at + OFFER_MINOR_EVERY),
        }
    }
}

impl Host {
    /// The shell has looked at what is kept.
    pub(super) fn shelf_looked(&mut self, report: Option<ShelfReport>, stays: bool) {
        self.session.shelf.stands = report;
        self.session.shelf.stays = stays;
    }

    /// The shell has taken a batch of news in, or has given it up until the next session.
    pub(super) fn took_in(&mut self) {
        let shelf = &mut self.session.shelf;
        shelf.taking = shelf.taking.saturating_sub(1);
    }

    /// The complex wants to see a part of something.
    pub(super) fn proof_asked(&mut self, asked: ProofAsked, effects: &mut Vec<Effect>) {
        let session = self.session.current();
        let shelf = &mut self.session.shelf;
        if shelf.stands.is_none() || shelf.proving >= PROOFS_AT_ONCE_MAX {
            let what = format!("a proof for lease {} that cannot be wanted", asked.lease);
            effects.push(Effect::Say(HostEvent::Ignored(what)));
            return;
        }
        shelf.proving += 1;
        effects.push(Effect::Prove { session, asked });
    }

    /// The shell has read it.
    pub(super) fn proved(
        &mut self,
        session: SessionId,
        proof: Option<Box<Proof>>,
        effects: &mut Vec<Effect>,
    ) {
        let shelf = &mut self.session.shelf;
        shelf.proving = shelf.proving.saturating_sub(1);
        if let Some(proof) = proof {
            self.send_if_online(session, ToComplex::Proved(proof), effects);
        }
    }

    /// The complex wants something made anew: one thing at a time.
    pub(super) fn mend_ordered(&mut self, order: Box<MendOrder>, effects: &mut Vec<Effect>) {
        let session = self.session.current();
        let shelf = &mut self.session.shelf;
        let fits = order.places.len() <= MEND_PLACES_MAX
            && order.hosts.len() <= STORAGE_HOSTS_MAX
            && usize::from(order.mended) <= order.hosts.len();
        if shelf.stands.is_none() || !fits || shelf.mending {
            let what = format!("order {} to mend: it is too large, or too much", order.number);
            effects.push(Effect::Say(HostEvent::Ignored(what)));
            return;
        }
        shelf.mending = true;
        effects.push(Effect::Mend { session, order });
    }

    /// The shell has done it.
    pub(super) fn mended(
        &mut self,
        session: SessionId,
        report: MendReport,
        effects: &mut Vec<Effect>,
    ) {
        self.session.shelf.mending = false;
        self.send_if_online(session, ToComplex::Mended(report), effects);
    }

    /// Answers in the session of the question; the complex asks again in another.
    fn send_if_online(&self, session: SessionId, frame: ToComplex, effects: &mut Vec<Effect>) {
        let is_now = session == self.session.current();
        if is_now && matches!(self.session.link, Link::Online { .. }) {
            effects.push(Effect::Send { session, frame });
        }
    }

    /// The complex has said something of the leases on this disk.
    pub(super) fn storage_told(&mut self, news: Vec<LeaseNews>, effects: &mut Vec<Effect>) {
        let session: SessionId = self.session.current();
        let shelf = &mut self.session.shelf;
        if shelf.stands.is_none() || news.is_empty() || news.len() > STORAGE_NEWS_MAX {
            let what = format!("{} words about storage that nobody asked for", news.len());
            effects.push(Effect::Say(HostEvent::Ignored(what)));
            return;
        }
        if shelf.taking >= NEWS_AT_ONCE_MAX {
            // In the next session it says all again that was not taken in.
            self.give_up_on_session("the disk cannot follow the complex's words", effects);
            return;
        }
        shelf.taking += 1;
        effects.push(Effect::TakeIn { session, news });
    }

    /// Tells how the shelf stands, if that is due.
    pub(super) fn tell_shelf(&mut self, effects: &mut Vec<Effect>) {
        debug_assert!(matches!(self.session.link, Link::Online { .. }));
        if self.session.shelf.due().is_none_or(|at| at > self.now) {
            return;
        }
        let session = self.session.current();
        let shelf = &mut self.session.shelf;
        let Some(report) = shelf.stands.clone() else { return };
        shelf.told = Some((report.clone(), self.now));
        shelf.known = Some(report.clone());
        effects.push(Effect::Send { session, frame: ToComplex::Shelf(Box::new(report)) });
    }
}
