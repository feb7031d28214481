//! What rmcp asks of us: the methods of a tools server.
//!
//! Both protocol eras come in here; rmcp tells them apart and shapes the results. A handler that panics is answered
//! with −32603 instead of never.

use std::pin::pin;
use std::sync::Arc;

use rmcp::model::*;
use rmcp::service::RequestContext;
use rmcp::{ErrorData, RoleServer, ServerHandler};
use tokio::sync::mpsc;
use tokio::time::timeout_at;

use super::admission::{self, Admitted, Asked};
use super::caught::caught;
use super::once::{self, Made};
use super::tool_list::ToolList;
use super::witness::Witness;
use super::{error, session, tools};
use crate::actors::message::CallOutcome;
use crate::actors::output_gauge::OutputGauge;
use crate::actors::reply::Answer;
use crate::actors::shared::Shared;
use crate::actors::tool_table::ToolEntry;
use crate::frame::ContextFrame;
use crate::wasi::store::Progress;

/// Progress reports on their way to the client; more are dropped, never waited for.
const PROGRESS_QUEUE: usize = 16;

/// The handler of one connection.
#[derive(Clone)]
pub struct ToolHandler {
    shared: Arc<Shared>,
    list: Arc<ToolList>,
    /// What the client has yet to read.
    output: Arc<OutputGauge>,
}

impl ToolHandler {
    /// A handler for the tools of `shared`, whose client has yet to read what `output` says.
    pub fn new(shared: Arc<Shared>, output: Arc<OutputGauge>) -> Self {
        Self { list: Arc::new(ToolList::new(Arc::clone(&shared))), shared, output }
    }

    async fn call(
        &self,
        request: CallToolRequestParams,
        context: RequestContext<RoleServer>,
        witness: &mut Witness,
    ) -> Result<CallToolResult, ErrorData> {
        let tool = admission::tool(&self.shared, &request.name)?;
        witness.tool(tool);
        let frame = admission::frame(&self.shared, &context.meta)?;
        let arguments = request.arguments.unwrap_or_default();
        witness.frame(&self.shared, tool, &frame, &arguments);
        match once::key(&context.meta)? {
            None => self.make(tool, arguments, frame, &context, witness).await.result,
            Some(key) => {
                // An answer that is kept is no way around the rules.
                if let Err(denied) = admission::permitted(tool, &frame) {
                    return tools::denied(tool, denied, &frame);
                }
                let claim = once::claim(tool, key, &arguments, &frame);
                let call = self.make(tool, arguments, Arc::clone(&frame), &context, witness);
                once::once(&self.shared, tool, claim, &frame, &context.ct, call).await
            }
        }
    }

    async fn make(
        &self,
        tool: &ToolEntry,
        arguments: JsonObject,
        frame: Arc<ContextFrame>,
        context: &RequestContext<RoleServer>,
        witness: &mut Witness,
    ) -> Made {
        let (progress, reports) = match context.meta.get_progress_token() {
            Some(token) => {
                let (sender, receiver) = mpsc::channel(PROGRESS_QUEUE);
                (Some(sender), Some((token, receiver)))
            }
            None => (None, None),
        };
        let asked = Asked {
            arguments,
            frame: &frame,
            cancel: context.ct.clone(),
            output: &self.output,
            progress,
            story: witness.story(),
        };
        match admission::admit(&self.shared, tool, asked).await {
            Ok(Admitted { answer, deadline }) => {
                witness.admitted();
                let latest = (deadline.at + tool.knobs.deadline_slack()).into();
                let outcome = match reports {
                    None => timeout_at(latest, wait(answer)).await,
                    // Rare and large: in a box of its own it does not weigh on every call.
                    Some((token, reports)) => {
                        timeout_at(latest, Box::pin(wait_reporting(answer, reports, token, context))).await
                    }
                };
                let outcome = outcome.unwrap_or_else(|_| {
                    // Nobody waits for it any more, so its place in the lane can be given away.
                    self.shared.table.note_cancellation();
                    CallOutcome::Faulted(deadline.fault())
                });
                Made::of(tool, outcome, &frame)
            }
            Err(denied) => Made::not(tool, denied, &frame),
        }
    }
}

async fn wait(mut answer: Answer) -> CallOutcome {
    answer.wait().await
}

/// Passes progress on while waiting. Every report taken is written before the answer is, as the protocol wants it.
async fn wait_reporting(
    mut answer: Answer,
    mut reports: mpsc::Receiver<Progress>,
    token: ProgressToken,
    context: &RequestContext<RoleServer>,
) -> CallOutcome {
    let mut last = f64::NEG_INFINITY;
    loop {
        let report = tokio::select! {
            biased;
            Some(report) = reports.recv() => report,
            outcome = answer.wait() => {
                while let Ok(report) = reports.try_recv() {
                    notify(context, &token, report, &mut last).await;
                }
                return outcome;
            }
        };
        notify(context, &token, report, &mut last).await;
    }
}

async fn notify(context: &RequestContext<RoleServer>, token: &ProgressToken, report: Progress, last: &mut f64) {
    // The protocol wants progress to grow; a guest that goes backwards is not passed on.
    if report.done <= *last || !report.done.is_finite() || context.ct.is_cancelled() {
        return;
    }
    *last = report.done;
    let mut params = ProgressNotificationParam::new(token.clone(), report.done);
    params.total = report.total.filter(|total| total.is_finite());
    params.message = report.message;
    // A client that is gone needs no progress; the answer will find out the same way.
    let _ = context.peer.notify_progress(params).await;
}

/// Modern clients want to know who answered on every result.
fn is_modern(context: &RequestContext<RoleServer>) -> bool {
    context.protocol_version().is_some_and(|version| session::is_modern(&version))
}

impl ServerHandler for ToolHandler {
    fn get_info(&self) -> ServerConfig {
        ServerConfig::new(ServerCapabilities::builder().enable_tools().enable_tool_list_changed().build())
            .with_server_info(tools::implementation())
            .with_instructions(
                "Tools run in sandboxes. Paths are read inside the directories the server was started with; \
                 a denied path or a full queue is said in the answer, with what to do about it.",
            )
    }

    /// What `initialize` says, without the notifications: this era has them only for who subscribes, which is not
    /// offered; the list says itself how long it holds.
    async fn discover(&self, _: RequestContext<RoleServer>) -> Result<DiscoverResult, ErrorData> {
        let mut info = self.get_info();
        if let Some(tools) = &mut info.capabilities.tools {
            tools.list_changed = None;
        }
        Ok(DiscoverResult::from_server_info(self.supported_protocol_versions().into_owned(), info))
    }

    async fn list_tools(
        &self,
        request: Option<PaginatedRequestParams>,
        context: RequestContext<RoleServer>,
    ) -> Result<ListToolsResult, ErrorData> {
        // Before the list is read, so that no change falls between the two.
        let modern = is_modern(&context);
        if !modern {
            self.list.announce(&context.peer);
        }
        let mut list = self.list.page(request.as_ref())?;
        if modern {
            list.ttl_ms = Some(self.list.ttl_ms());
            tools::sign(list.meta.get_or_insert_default());
        }
        Ok(list)
    }

    async fn call_tool(
        &self,
        request: CallToolRequestParams,
        context: RequestContext<RoleServer>,
    ) -> Result<CallToolResponse, ErrorData> {
        let modern = is_modern(&context);
        let mut witness = Witness::begin(&context.meta, context.protocol_version(), &context.ct);
        let result = caught(pin!(self.call(request, context, &mut witness))).await;
        let mut result = result.unwrap_or_else(|_| Err(error::host_bug()));
        witness.end(&mut result);
        let mut result = result?;
        if modern {
            tools::sign(result.meta.get_or_insert_default());
        }
        Ok(result.into())
    }

    fn get_tool(&self, name: &str) -> Option<Tool> {
        let published = &self.shared.table.get(name)?.published;
        self.list.tools().iter().find(|tool| tool.name == published.as_str()).cloned()
    }

    /// What rmcp could not read as a known request: either the method is unknown, or its parameters are malformed.
    async fn on_custom_request(
        &self,
        request: CustomRequest,
        _: RequestContext<RoleServer>,
    ) -> Result<CustomResult, ErrorData> {
        Err(match request.method.as_str() {
            "tools/call" => ErrorData::invalid_params(
                "tools/call needs params with a string `name` and, if any, an object `arguments`",
                None,
            ),
            known @ ("initialize" | "ping" | "tools/list" | "server/discover") => {
                ErrorData::invalid_params(format!("the parameters of {known} are malformed"), None)
            }
            unknown => error::unknown_method(unknown),
        })
    }

    // rmcp answers these with empty results by default, as if they were offered.

    async fn complete(
        &self,
        _: CompleteRequestParams,
        _: RequestContext<RoleServer>,
    ) -> Result<CompleteResult, ErrorData> {
        Err(error::not_offered("completion/complete"))
    }

    async fn list_prompts(
        &self,
        _: Option<PaginatedRequestParams>,
        _: RequestContext<RoleServer>,
    ) -> Result<ListPromptsResult, ErrorData> {
        Err(error::not_offered("prompts/list"))
    }

    async fn list_resources(
        &self,
        _: Option<PaginatedRequestParams>,
        _: RequestContext<RoleServer>,
    ) -> Result<ListResourcesResult, ErrorData> {
        Err(error::not_offered("resources/list"))
    }

    async fn list_resource_templates(
        &self,
        _: Option<PaginatedRequestParams>,
        _: RequestContext<RoleServer>,
    ) -> Result<ListResourceTemplatesResult, ErrorData> {
        Err(error::not_offered("resources/templates/list"))
    }
}
