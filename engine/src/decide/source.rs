//! Where a permission can come from, and which of it reaches the resource.

use super::{Decision, RUNS};
use crate::name::Role;
use crate::node::Node;
use crate::subject::{Binding, BindingIndex, PrivilegedSession, What, fingerprint};

/// Where a permission can come from.
#[derive(Clone, Copy, Debug)]
pub enum Source<'a> {
    /// A row of a binding table, and the node that it is at (`None` = platform, or every resource of a type).
    Binding(&'a Binding, Option<&'a Node>),
    /// The owner's role.
    Ownership(Role),
    /// A privileged session.
    Session(&'a PrivilegedSession),
}

impl<'a> Decision<'_, 'a> {
    pub(super) fn find_sources(&mut self) {
        let indexes = self.indexes();
        self.find_runs(&indexes);
        self.rare = self.rest < self.resource.chain.len()
            || self.resource.owned().next().is_some()
            || !self.subject.sessions.is_empty()
            || indexes.into_iter().flatten().any(|i| !i.wide().is_empty());
    }

    #[inline]
    fn find_runs(&mut self, indexes: &[Option<&'a BindingIndex>]) {
        for (i, node) in self.resource.chain.iter().enumerate() {
            if self.found + indexes.len() > RUNS {
                self.rest = i;
                return;
            }
            let fingerprint = fingerprint(node);
            for index in indexes.iter().flatten() {
                if index.may_have(fingerprint)
                    && let run @ [_, ..] = index.at(node)
                {
                    self.runs[self.found] = (i, run);
                    self.found += 1;
                }
            }
        }
    }

    /// Does a binding, which is at the resource's chain, count for its tenant and at the instant?
    #[inline]
    fn counts(&self, b: &Binding) -> bool {
        b.valid.contains(self.q.at)
            && b.tenant == self.resource.tenant
            // What lives inside a tenant gives nothing to those who are not (or no longer) in it; denies still hold.
            && (self.member || matches!(b.what, What::Rule { deny: true, .. }))
    }

    /// Every source that is in force at the instant and reaches the resource.
    #[inline]
    pub(super) fn each_source(&self, mut f: impl FnMut(Source<'_>)) {
        for &(i, run) in &self.runs[..self.found] {
            for binding in run {
                if self.counts(binding) {
                    f(Source::Binding(binding, Some(&self.resource.chain[i])));
                }
            }
        }
        // Only assignments are made at the platform, and those are part of the subject.
        for binding in self.subject.index.platform() {
            if binding.tenant.is_none() && binding.valid.contains(self.q.at) {
                f(Source::Binding(binding, None));
            }
        }
        if self.rare {
            self.each_rare_source(&mut f);
        }
    }

    /// The rest of [`Self::each_source`], kept apart: few decisions meet any of these.
    #[inline(never)]
    fn each_rare_source(&self, f: &mut dyn FnMut(Source<'_>)) {
        let chain = &self.resource.chain;
        for index in self.indexes().into_iter().flatten() {
            for node in &chain[self.rest..] {
                for binding in index.at(node).iter().filter(|b| self.counts(b)) {
                    f(Source::Binding(binding, Some(node)));
                }
            }
            for (kind, binding) in index.wide() {
                if self.counts(binding) && chain.iter().any(|n| n.kind == *kind) {
                    f(Source::Binding(binding, None));
                }
            }
        }
        if self.member
            && let Some(tenant) = self.resource.tenant
        {
            for (kind, owner) in self.resource.owned() {
                if let Some(role) = self.q.model.resource_type(kind).and_then(|t| t.owner_role)
                    && self.subject.is_owner(owner, tenant, self.q.at)
                {
                    f(Source::Ownership(role));
                }
            }
        }
        self.sessions().for_each(|s| f(Source::Session(s)));
    }

    /// The subject's bindings, and those kept outside of it.
    #[inline]
    fn indexes(&self) -> [Option<&'a BindingIndex>; 3] {
        let [everybody, large] = self.q.elsewhere;
        [Some(&self.subject.index), everybody, large]
    }

    /// Active privileged sessions that cover the resource.
    #[inline]
    pub(super) fn sessions(&self) -> impl Iterator<Item = &'a PrivilegedSession> {
        // The flag first: it costs nothing where sessions count.
        let counted = self
            .q
            .sessions
            .then(|| self.subject.privileged(self.resource, self.q.at));
        counted.into_iter().flatten()
    }
}
