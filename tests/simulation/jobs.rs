//! Jobs that change the database beside the cache, and tell it so.
//!
//! What they tell counts as a write does: from then on no answer may be older. That holds for
//! responses that are made stale, too, where nothing lets stale ones be used.

use tower_response_cache::CacheHandle;
use tower_response_cache::backend::Backend;

use crate::client::Client;
use crate::history::TEAM;
use crate::source::TEAM_GROUP;

impl<B: Backend> Client<B> {
    /// Plays a few jobs, each of which tells one of the instances.
    pub async fn works(self, handles: Vec<CacheHandle<B>>) {
        for _ in 0..=self.luck.below(3) {
            self.luck.pause(self.plan.interval).await;
            let instance = self.luck.below(handles.len() as u64) as usize;
            let resource = self.luck.pick(&["/plain", "/varies", TEAM]);
            let job = self.history.writes(resource);
            self.luck.pause(20).await;
            self.history.commit(job);
            self.history.ends(job);
            self.luck.pause(20).await;
            let is_acknowledged = self.tell(&handles[instance], resource).await;
            assert!(is_acknowledged || self.plan.loses, "a backend that is well");
            self.history.settled(job);
            self.history.told(job, instance, is_acknowledged);
        }
    }

    /// Invalidates a resource, or the group, or makes it stale.
    async fn tell(&self, handle: &CacheHandle<B>, resource: &str) -> bool {
        let uri = format!("http://test.example{resource}?any");
        match (resource == TEAM, self.luck.chance(60)) {
            (true, true) => handle.expire_group("", TEAM_GROUP).await.is_ok(),
            (true, false) => handle.invalidate_group("", TEAM_GROUP).await.is_ok(),
            (false, true) => handle.expire(&uri).await.is_ok(),
            (false, false) => handle.invalidate(&uri).await.is_ok(),
        }
    }
}
