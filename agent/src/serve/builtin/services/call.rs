//! Making a call (R40): from dialling to the entry in the outgoing log. Its user hangs up by deleting the task.

use super::job::{Job, done};
use crate::device::Number;
use crate::serve::builtin::descriptions::OUTGOING_CALLS;
use crate::serve::builtin::tasks::{End, State};

/// Dials, and waits for the call's end. How it ended is the log's to say: a call that nobody took was made all the same.
pub async fn run(job: Job, number: &Number) {
    let stop = job.handset.tasks.stoppable(job.id);
    let call = match job.handset.device.dial(number).await {
        Ok(call) => call,
        Err(error) => return job.failed(error.into(), None).await,
    };
    let calls = job.handset.calls.clone();
    calls.dialled(call, number);
    let ended = calls.ended(call);
    tokio::pin!(ended);
    let (_, entry) = loop {
        tokio::select! {
            ended = &mut ended => break ended,
            () = stop.notified() => {
                if let Err(error) = job.handset.device.hang_up(call).await {
                    tracing::warn!(%error, "a call could not be hung up");
                }
            }
        }
    };
    job.finish(move |_| {
        Ok(match entry {
            Some(entry) => done(format!("/{}/{entry}", OUTGOING_CALLS.path())),
            None => (State::Done, End::default(), None),
        })
    })
    .await;
}
