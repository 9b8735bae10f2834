//! Groups of responses (PROTOCOLS §4): a token for each group, and one for all of them.
//!
//! Which groups a response is in, nobody knows before it is there; its fill began before that. So a fence holds the token of
//! *all* groups, which every invalidation of any group takes away before it takes away the group's own. Whoever stores a
//! member first gets hold of its groups' tokens, then compares the token of all with what was captured: unchanged, no
//! invalidation that came after the capture can have been before those tokens were read. They are stored with the member,
//! and compared whenever it is found.

use std::sync::Arc;
use std::time::Duration;

use bytes::{Bytes, BytesMut};

use super::fault::Fault;
use super::lookups::strings;
use super::pool::Run;
use super::token::{Epoch, Sealed, Token};
use super::{EPOCH_LIFE, Inner, LEASE_LIFE, life, string, unexpected};
use crate::backend::{Group, StoredResponse};

/// The tokens of a member's groups, as they stand with it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct GroupTokens(Arc<[Token]>);

/// More than a response may be in.
const MOST: usize = u8::MAX as usize;

impl GroupTokens {
    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// What an entry begins with: the token it is valid under, and those of its groups.
    pub(super) fn behind(&self, token: &Token) -> Bytes {
        let mut prefix = BytesMut::with_capacity(Token::LENGTH * (1 + self.0.len()) + 1);
        prefix.extend_from_slice(token.as_ref());
        prefix.extend_from_slice(&[self.0.len() as u8]);
        for token in self.0.iter() {
            prefix.extend_from_slice(token.as_ref());
        }
        prefix.freeze()
    }

    /// Takes them off what stands behind an entry's token.
    pub(super) fn split_from(entry: &mut Bytes) -> Option<Self> {
        let count = usize::from(*entry.first()?);
        let length = 1 + count * Token::LENGTH;
        if entry.len() < length {
            return None;
        }
        let tokens = entry.split_to(length).slice(1..);
        let tokens = tokens.chunks_exact(Token::LENGTH).map(Token::kept);
        Some(Self(tokens.collect::<Option<_>>()?))
    }
}

impl Inner {
    /// The token of all groups; made where there is none.
    pub(super) async fn all_groups(&self) -> Result<Epoch, Fault> {
        let run = Run {
            script: &self.scripts.begin,
            keys: &[self.names().groups()],
            arguments: || {
                let token = Epoch::random();
                vec![Bytes::copy_from_slice(token.as_ref()), life(EPOCH_LIFE)]
            },
        };
        let (token, link) = self.pool.run(run).await?;
        let token = string(token).and_then(|token| Epoch::read(&token));
        token.ok_or_else(|| unexpected(&link))
    }

    /// The tokens of a response's groups, made where there are none; `None` where one of any was invalidated since `all` was
    /// captured. They outlive what is stored for `left`.
    pub(super) async fn tokens_for(
        &self,
        response: &StoredResponse,
        (all, epoch): (Epoch, Epoch),
        left: Duration,
    ) -> Result<Option<GroupTokens>, Fault> {
        let groups = response.groups();
        if groups.is_empty() {
            return Ok(Some(GroupTokens::default()));
        }
        if groups.len() > MOST {
            return Ok(None);
        }
        let mut tokens = Vec::with_capacity(groups.len());
        for group in groups {
            tokens.push(self.token_of(group, epoch, left).await?);
        }
        // Only now: see the module.
        let is_unchanged = self.current(&[self.names().groups()]).await?;
        let is_unchanged = is_unchanged[0].as_deref() == Some(all.as_ref());
        Ok(is_unchanged.then(|| GroupTokens(tokens.into())))
    }

    async fn token_of(&self, group: &Group, epoch: Epoch, left: Duration) -> Result<Token, Fault> {
        let (identity, of) = (self.pool.link().await?.identity(), Sealed::Group(group));
        let run = Run {
            script: &self.scripts.open_group,
            keys: &[self.names().group(group)],
            arguments: || {
                let token = Token::random(identity, epoch, of);
                vec![
                    Bytes::copy_from_slice(token.as_ref()),
                    life(left + LEASE_LIFE),
                ]
            },
        };
        let (token, link) = self.pool.run(run).await?;
        let token = string(token).and_then(|token| Token::read(&token, identity, epoch, of));
        token.ok_or_else(|| unexpected(&link))
    }

    /// Whether no group of a response has been invalidated since it was stored: asked after the request began.
    pub(super) async fn are_still(
        &self,
        response: &StoredResponse,
        tokens: &GroupTokens,
    ) -> Result<bool, Fault> {
        let groups = response.groups();
        if groups.len() != tokens.0.len() {
            return Ok(false);
        }
        let names: Vec<String> = groups
            .iter()
            .map(|group| self.names().group(group))
            .collect();
        let current = self.current(&names).await?;
        let stored = tokens.0.iter().map(|token| Some(token.as_ref()));
        Ok(current.iter().map(Option::as_deref).eq(stored))
    }

    async fn current(&self, names: &[String]) -> Result<Vec<Option<Vec<u8>>>, Fault> {
        let ask = || {
            let mut ask = redis::cmd("MGET");
            ask.arg(names);
            ask
        };
        let (reply, link) = self.pool.send(ask).await?;
        strings(reply, names.len()).ok_or_else(|| unexpected(&link))
    }

    /// The token of all first, see the module.
    pub(super) async fn invalidate_group(&self, group: &Group) -> Result<(), Fault> {
        self.unlink(&[self.names().groups()]).await?;
        self.unlink(&[self.names().group(group)]).await
    }
}
