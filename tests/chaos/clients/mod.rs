//! Clients: they send any request, leave at any time, and check every answer.

pub mod requests;

use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, Request, Response};
use http_body::Body;
use http_body_util::BodyExt;
use tokio::time::{Instant, sleep, timeout};
use tower::{Service, ServiceExt};
use tower_response_cache::backend::Backend;
use tower_response_cache::{BoxError, Cache, CacheHandle};

use self::requests::{Memory, any_request};
use crate::checks::{Asked, Content, check_content, check_error, check_head};
use crate::database::{RESOURCES, resource_of};
use crate::origin::{Busy, Known, REQUEST, WRITE, field, is_write};
use crate::support::luck::{Ended, tossed};

/// The time after which a client leaves in any case.
const PATIENCE: Duration = Duration::from_secs(400);

pub struct Client<B: Backend> {
    pub service: Cache<Busy, B>,
    pub handle: CacheHandle<B>,
    pub known: Arc<Known>,
    pub memory: Rc<Memory>,
    pub user: usize,
}

/// When a client leaves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Leaving {
    Never,
    /// Its future was made, and is never polled.
    BeforeAnything,
    AfterPolls,
    AfterTime(Duration),
    WithTheHead,
    AfterFrames(u64),
    /// It holds the body for a while and does not read it.
    Stalling(Duration),
}

impl<B: Backend> Client<B> {
    pub async fn acts(self, steps: u64) {
        let Known {
            plan, luck, report, ..
        } = &*self.known;
        for _ in 0..steps {
            if report.is_broken() {
                return;
            }
            luck.pause(plan.interval).await;
            if luck.chance(2) {
                self.administrates().await;
                continue;
            }
            let request = any_request(&self.known, &self.memory, self.user);
            let leaving = self.any_leaving();
            self.sends(request, leaving).await;
        }
    }

    fn any_leaving(&self) -> Leaving {
        let luck = &self.known.luck;
        if !luck.chance(self.known.plan.hang_ups) {
            return Leaving::Never;
        }
        let time = Duration::from_millis(luck.pick(&[1, 20, 500, 5_000]));
        match luck.below(7) {
            0 => Leaving::BeforeAnything,
            1 | 2 => Leaving::AfterPolls,
            3 => Leaving::AfterTime(time),
            4 => Leaving::WithTheHead,
            5 => Leaving::AfterFrames(luck.below(3)),
            _ => Leaving::Stalling(time),
        }
    }

    async fn administrates(&self) {
        let luck = &self.known.luck;
        let path = luck.pick(&RESOURCES);
        let done = match luck.below(3) {
            0 => self.handle.clear().await.is_ok(),
            1 => {
                let group = self.handle.invalidate_group("http://test.example", "team");
                group.await.is_ok()
            }
            _ if path.starts_with('/') => self.handle.invalidate(path).await.is_ok(),
            _ => true,
        };
        if !done {
            self.known
                .report
                .broke("", "a backend that is well does not invalidate");
        }
    }

    /// Sends a request and checks the answer. Returns the version of its content, if it has that.
    pub async fn get(&self, request: Request<()>) -> Option<u64> {
        self.sends(request, Leaving::Never).await
    }

    async fn sends(&self, mut request: Request<()>, leaving: Leaving) -> Option<u64> {
        let Known {
            report,
            database,
            luck,
            ..
        } = &*self.known;
        let number = self.memory.next_number();
        request.headers_mut().insert(REQUEST, number.into());
        let resource = resource_of(request.uri().path());
        let asked = Asked {
            number,
            method: request.method().clone(),
            resource,
            target: crate::origin::target_of(&request),
            headers: request.headers().clone(),
            promised: database.promised(resource),
            begun: Instant::now(),
        };
        report.note(resource, || {
            format!(
                "client #{number} {} {} promised {} {leaving:?} {}",
                asked.method,
                asked.target,
                asked.promised,
                in_few_words(&asked.headers)
            )
        });
        let mut service = self.service.clone();
        let call: std::pin::Pin<Box<dyn Future<Output = _>>> = match luck.chance(30) {
            true => Box::pin(service.oneshot(request)),
            // It has begun, if not been polled.
            false => Box::pin(service.call(request)),
        };
        if leaving == Leaving::BeforeAnything {
            luck.pause(100).await;
            return None;
        }
        let cut = if leaving == Leaving::AfterPolls {
            100
        } else {
            0
        };
        let patience = match leaving {
            Leaving::AfterTime(time) => time,
            _ => PATIENCE,
        };
        let ended = timeout(patience, tossed(call, cut, luck)).await;
        let response = match ended {
            Ok(Ended::With(Ok(response))) => response,
            Ok(Ended::With(Err(error))) => {
                check_error(&self.known, &asked, &error);
                return None;
            }
            Ok(Ended::Cut) => return None,
            Ok(Ended::Panicked) => {
                // A panic of the crate's own is noticed by the hook.
                if !database.has_failed_since(asked.begun) {
                    report.broke(resource, format!("#{number} panics"));
                }
                return None;
            }
            Err(_) if patience < PATIENCE => return None,
            Err(_) => {
                if !self.known.plan.has_silence {
                    report.broke(resource, format!("#{number} waits for ever"));
                }
                return None;
            }
        };
        self.reads(&asked, response, leaving).await
    }

    async fn reads<R>(&self, asked: &Asked, response: Response<R>, leaving: Leaving) -> Option<u64>
    where
        R: Body<Data = Bytes> + Unpin,
        R::Error: Into<BoxError>,
    {
        let (head, mut body) = response.into_parts();
        self.known.report.note(asked.resource, || {
            format!(
                "client #{} has {} {}",
                asked.number,
                head.status.as_u16(),
                in_few_words(&head.headers)
            )
        });
        if is_write(&asked.method)
            && let Ok(write) = field(&head.headers, WRITE).parse()
        {
            self.known.database.tells(write);
        }
        self.memory.learn(&head.headers);
        check_head(&self.known, asked, &head);
        let mut content = Content::default();
        let mut frames = match leaving {
            Leaving::WithTheHead => return None,
            Leaving::AfterFrames(frames) => Some(frames),
            Leaving::Stalling(time) => {
                sleep(time).await;
                None
            }
            _ => None,
        };
        loop {
            let Ok(frame) = timeout(PATIENCE, body.frame()).await else {
                if !self.known.plan.has_silence {
                    let number = asked.number;
                    let broken = format!("#{number} waits for ever for a frame");
                    self.known.report.broke(asked.resource, broken);
                }
                return None;
            };
            match frame {
                None => break,
                Some(Ok(frame)) => match frame.into_data() {
                    Ok(data) => content.bytes.extend_from_slice(&data),
                    Err(trailers) => content.trailers = trailers.into_trailers().ok(),
                },
                Some(Err(error)) => {
                    content.error = Some(error.into().to_string());
                    break;
                }
            }
            match &mut frames {
                Some(0) => return None,
                Some(left) => *left -= 1,
                None => {}
            }
            if self.known.luck.chance(10) {
                self.known.luck.pause(self.known.plan.interval).await;
            }
        }
        check_content(&self.known, asked, &head, &content)
    }
}

/// The fields of a head, without those that are always there.
fn in_few_words(headers: &HeaderMap) -> String {
    let mut text = String::new();
    for (name, value) in headers {
        if !matches!(name.as_str(), "host" | "x-request" | "date") {
            text += &format!(
                "{name}: {:.60} | ",
                String::from_utf8_lossy(value.as_bytes())
            );
        }
    }
    text
}
