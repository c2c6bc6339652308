// What approvals need beside decisions: breaking the glass and its review, standing in, templates, webhooks.
#include <memory>

#include "absl/time/clock.h"
#include "cli/commands/approval_view.h"
#include "cli/commands/commands.h"
#include "cli/output.h"
#include "cli/text.h"
#include "common/base/ids.h"
#include "common/base/random.h"
#include "common/base/status_macros.h"
#include "common/base/strings.h"
#include "fmt/format.h"
#include "postern/v1/approval.grpc.pb.h"

namespace postern::cli {
namespace {

using Service = v1::ApprovalService;

template <typename Request, typename Response>
absl::StatusOr<Response> CallApprovals(Client& client,
                                       grpc::Status (Service::Stub::*method)(grpc::ClientContext*, const Request&,
                                                                             Response*),
                                       const Request& request) {
  POSTERN_RETURN_IF_ERROR(client.Connect());
  return Call(*client.Stub<Service>(), method, request);
}

// "2026-12-01", "2026-12-01T08:00:00Z", or a duration from now.
absl::StatusOr<absl::Time> ParseMoment(const std::string& text) {
  absl::Time time;
  std::string error;
  if (absl::ParseTime("%Y-%m-%d", text, absl::UTCTimeZone(), &time, &error)) return time;
  if (absl::ParseTime(absl::RFC3339_full, text, &time, &error)) return time;
  absl::StatusOr<absl::Duration> from_now = ParseDuration(text);
  if (!from_now.ok()) {
    return Usage(fmt::format("{} is no point in time", text), "write it as 2026-12-01, 2026-12-01T08:00:00Z or 8h");
  }
  return absl::Now() + *from_now;
}

absl::Status BreakGlass(Client& client, const std::string& id, const std::string& comment) {
  v1::BreakGlassRequest request;
  request.set_id(id);
  request.set_comment(comment);
  request.set_request_id(NewUuid(Random::System()));
  POSTERN_ASSIGN_OR_RETURN(const v1::Approval released, CallApprovals(client, &Service::Stub::BreakGlass, request));
  PrintLine(client.json ? ApprovalJson(released)
                        : fmt::format("{} is approved by you alone. A review by another person is owed until {}.", id,
                                      FormatTime(released.broken_glass().review_due_time())));
  return absl::OkStatus();
}

absl::Status Review(Client& client, const std::string& id, bool ok, const std::string& comment) {
  v1::ReviewApprovalRequest request;
  request.set_id(id);
  request.set_ok(ok);
  request.set_comment(comment);
  request.set_request_id(NewUuid(Random::System()));
  POSTERN_ASSIGN_OR_RETURN(const v1::Approval reviewed, CallApprovals(client, &Service::Stub::ReviewApproval, request));
  PrintLine(client.json ? ApprovalJson(reviewed)
                        : fmt::format("{} is reviewed: {}", id, ok ? "it was justified" : "it was not justified"));
  return absl::OkStatus();
}

absl::Status AddStandIn(Client& client, const std::string& to, const std::string& from, const std::string& until,
                        const std::string& comment) {
  v1::CreateDelegationRequest request;
  request.set_to(to);
  request.set_comment(comment);
  if (!from.empty()) {
    POSTERN_ASSIGN_OR_RETURN(const absl::Time start, ParseMoment(from));
    *request.mutable_start_time() = ToProto(start);
  }
  POSTERN_ASSIGN_OR_RETURN(const absl::Time end, ParseMoment(until));
  *request.mutable_end_time() = ToProto(end);
  request.set_request_id(NewUuid(Random::System()));
  POSTERN_ASSIGN_OR_RETURN(const v1::Delegation made, CallApprovals(client, &Service::Stub::CreateDelegation, request));
  PrintLine(client.json
                ? ToJson(made)
                : fmt::format("{}: {} until {}", made.id(),
                              made.to().empty() ? "you are away" : Printable(made.to()) + " decides in your place",
                              FormatTime(made.end_time())));
  return absl::OkStatus();
}

absl::Status ListStandIns(Client& client) {
  POSTERN_ASSIGN_OR_RETURN(const v1::ListDelegationsResponse all,
                           CallApprovals(client, &Service::Stub::ListDelegations, v1::ListDelegationsRequest()));
  if (client.json) {
    PrintLine(ToJson(all));
    return absl::OkStatus();
  }
  Table table({"ID", "AWAY", "DECIDES INSTEAD", "FROM", "UNTIL", "COMMENT"});
  for (const v1::Delegation& one : all.delegations()) {
    table.Add({one.id(), one.from(), one.to().empty() ? "nobody" : one.to(), FormatTime(one.start_time()),
               FormatTime(one.end_time()), one.comment()});
  }
  table.Print("nobody is away");
  return absl::OkStatus();
}

absl::Status EndStandIn(Client& client, const std::string& id) {
  v1::DeleteDelegationRequest request;
  request.set_id(id);
  request.set_request_id(NewUuid(Random::System()));
  POSTERN_RETURN_IF_ERROR(CallApprovals(client, &Service::Stub::DeleteDelegation, request).status());
  if (!client.json) PrintLine(fmt::format("{} has ended", id));
  return absl::OkStatus();
}

absl::Status ListShapes(Client& client, bool ended) {
  v1::ListTemplatesRequest request;
  request.set_all(ended);
  POSTERN_ASSIGN_OR_RETURN(const v1::ListTemplatesResponse all,
                           CallApprovals(client, &Service::Stub::ListTemplates, request));
  if (client.json) {
    PrintLine(ToJson(all));
    return absl::OkStatus();
  }
  Table table({"ID", "AGENT", "TARGET", "SHAPE OF", "ROWS", "USED", "UNTIL", "BY"});
  for (const v1::ApprovalTemplate& one : all.templates()) {
    table.Add({one.id(), one.agent(), one.target(), Clip(one.sql(), 50), std::to_string(one.terms().rows_max()),
               std::to_string(one.uses()),
               one.has_revoke_time() ? "revoked by " + one.revoked_by() : FormatTime(one.expire_time()),
               one.approvers().empty() ? "" : one.approvers(0)});
  }
  table.Print("no templates");
  return absl::OkStatus();
}

absl::Status RevokeShape(Client& client, const std::string& id) {
  v1::RevokeTemplateRequest request;
  request.set_id(id);
  request.set_request_id(NewUuid(Random::System()));
  POSTERN_ASSIGN_OR_RETURN(const v1::ApprovalTemplate revoked,
                           CallApprovals(client, &Service::Stub::RevokeTemplate, request));
  PrintLine(client.json ? ToJson(revoked) : fmt::format("{} approves nothing any more", id));
  return absl::OkStatus();
}

absl::Status ListDeliveries(Client& client, const std::string& state, int limit) {
  v1::ListWebhookDeliveriesRequest request;
  request.set_state(state == "all" ? "" : state);
  request.set_page_size(limit);
  POSTERN_ASSIGN_OR_RETURN(const v1::ListWebhookDeliveriesResponse all,
                           CallApprovals(client, &Service::Stub::ListWebhookDeliveries, request));
  if (client.json) {
    PrintLine(ToJson(all));
    return absl::OkStatus();
  }
  Table table({"ID", "STATE", "WEBHOOK", "EVENT", "APPROVAL", "TRIES", "NEXT", "LAST ERROR"});
  for (const v1::WebhookDelivery& one : all.deliveries()) {
    table.Add({one.id(), one.state(), one.webhook(), one.event(), one.approval_id(), std::to_string(one.attempts()),
               one.state() == "waiting" ? FormatTime(one.next_time()) : "-", one.last_error()});
  }
  table.Print("no deliveries");
  return absl::OkStatus();
}

absl::Status RetryDelivery(Client& client, const std::string& id) {
  v1::RetryWebhookDeliveryRequest request;
  request.set_id(id);
  request.set_request_id(NewUuid(Random::System()));
  POSTERN_ASSIGN_OR_RETURN(const v1::WebhookDelivery taken,
                           CallApprovals(client, &Service::Stub::RetryWebhookDelivery, request));
  PrintLine(client.json ? ToJson(taken) : fmt::format("{} is sent again", id));
  return absl::OkStatus();
}

void AddGlass(CLI::App& group, Env& env) {
  auto id = std::make_shared<std::string>();
  auto comment = std::make_shared<std::string>();
  CLI::App* glass = Leaf(group, env, "break-glass", "Approve it alone and at once, owing a review within 24 hours",
                         "  postern approval break-glass apr_01h… --comment \"the shop is down, INC-4711\"",
                         [&env, id, comment] { return BreakGlass(env.client, *id, *comment); });
  glass->add_option("id", *id, "Approval id (apr_…)")->required();
  glass->add_option("--comment", *comment, "Why; everybody will read it")->required();

  auto reviewed = std::make_shared<std::string>();
  auto verdict = std::make_shared<std::string>();
  auto words = std::make_shared<std::string>();
  CLI::App* review =
      Leaf(group, env, "review", "Say whether a broken glass was justified",
           "  postern approval list --review\n"
           "  postern approval review apr_01h… --verdict ok --comment \"read the incident\"",
           [&env, reviewed, verdict, words] { return Review(env.client, *reviewed, *verdict == "ok", *words); });
  review->add_option("id", *reviewed, "Approval id (apr_…)")->required();
  review->add_option("--verdict", *verdict, "ok or not-ok")->required()->check(CLI::IsMember({"ok", "not-ok"}));
  review->add_option("--comment", *words, "What you found")->required();
}

void AddStandingIn(CLI::App& parent, Env& env) {
  CLI::App* group = Group(parent, env, "delegation", "Who decides in whose place, and who is away");
  auto to = std::make_shared<std::string>();
  auto from = std::make_shared<std::string>();
  auto until = std::make_shared<std::string>();
  auto comment = std::make_shared<std::string>();
  CLI::App* add =
      Leaf(*group, env, "add", "Let another approver decide in your place, until a day",
           "  postern approval delegation add --to bob@example.com --until 2026-12-01\n"
           "  postern approval delegation add --until 2026-12-01 --comment holidays",
           [&env, to, from, until, comment] { return AddStandIn(env.client, *to, *from, *until, *comment); });
  add->add_option("--to", *to, "Who decides instead; left out, you are only said to be away");
  add->add_option("--from", *from, "When it begins: 2026-12-01, 2026-12-01T08:00:00Z or 8h; now by default");
  add->add_option("--until", *until, "When it ends, at most 90 days later")->required();
  add->add_option("--comment", *comment, "Shown to other approvers");
  Leaf(*group, env, "list", "Those that have not ended", "  postern approval delegation list",
       [&env] { return ListStandIns(env.client); });
  auto id = std::make_shared<std::string>();
  CLI::App* end = Leaf(*group, env, "end", "End one now", "  postern approval delegation end dlg_01h…",
                       [&env, id] { return EndStandIn(env.client, *id); });
  end->add_option("id", *id, "Delegation id (dlg_…)")->required();
}

void AddShapes(CLI::App& parent, Env& env) {
  CLI::App* group = Group(parent, env, "template", "Shapes of statements that are approved for a while");
  auto ended = std::make_shared<bool>(false);
  CLI::App* list = Leaf(*group, env, "list", "Those that live", "  postern approval template list --all",
                        [&env, ended] { return ListShapes(env.client, *ended); });
  list->add_flag("--all", *ended, "Also those that have ended");
  auto id = std::make_shared<std::string>();
  CLI::App* revoke = Leaf(*group, env, "revoke", "End one now", "  postern approval template revoke tpl_01h…",
                          [&env, id] { return RevokeShape(env.client, *id); });
  revoke->add_option("id", *id, "Template id (tpl_…)")->required();
}

void AddDeliveries(CLI::App& parent, Env& env) {
  CLI::App* group = Group(parent, env, "webhook", "What webhooks were sent, and what they are owed");
  auto state = std::make_shared<std::string>("all");
  auto limit = std::make_shared<int>(50);
  CLI::App* list = Leaf(*group, env, "list", "Deliveries, newest first", "  postern approval webhook list --state dead",
                        [&env, state, limit] { return ListDeliveries(env.client, *state, *limit); });
  list->add_option("--state", *state, "waiting, delivered, dead or all (default)")
      ->check(CLI::IsMember({"waiting", "delivered", "dead", "all"}));
  list->add_option("--limit", *limit, "At most this many")->check(CLI::Range(1, 1000));
  auto id = std::make_shared<std::string>();
  CLI::App* retry = Leaf(*group, env, "retry", "Send a dead one again", "  postern approval webhook retry whd_01h…",
                         [&env, id] { return RetryDelivery(env.client, *id); });
  retry->add_option("id", *id, "Delivery id (whd_…)")->required();
}

}  // namespace

void AddApprovalCare(CLI::App& group, Env& env) {
  AddGlass(group, env);
  AddStandingIn(group, env);
  AddShapes(group, env);
  AddDeliveries(group, env);
}

}  // namespace postern::cli
