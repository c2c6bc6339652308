#include <memory>

#include <unistd.h>

#include "cli/commands/approval_screen.h"
#include "cli/commands/approval_view.h"
#include "cli/commands/commands.h"
#include "cli/output.h"
#include "cli/text.h"
#include "common/base/ids.h"
#include "common/base/random.h"
#include "common/base/status_macros.h"
#include "fmt/format.h"
#include "nlohmann/json.hpp"
#include "postern/v1/approval.grpc.pb.h"

namespace postern::cli {
namespace {

absl::Status ListApprovals(Client& client, v1::ApprovalState state, bool review_owed, int limit) {
  POSTERN_RETURN_IF_ERROR(client.Connect());
  auto stub = client.Stub<v1::ApprovalService>();
  v1::ListApprovalsRequest request;
  request.set_state(review_owed ? v1::APPROVAL_STATE_UNSPECIFIED : state);
  request.set_review_owed(review_owed);
  v1::ListApprovalsResponse all;
  do {
    request.set_page_size(std::min(1000, limit - all.approvals_size()));
    POSTERN_ASSIGN_OR_RETURN(v1::ListApprovalsResponse page,
                             Call(*stub, &v1::ApprovalService::Stub::ListApprovals, request));
    all.mutable_approvals()->MergeFrom(page.approvals());
    request.set_page_token(page.next_page_token());
  } while (!request.page_token().empty() && all.approvals_size() < limit);
  if (client.json) {
    nlohmann::ordered_json json;
    json["approvals"] = nlohmann::ordered_json::array();
    for (const v1::Approval& approval : all.approvals()) {
      json["approvals"].push_back(nlohmann::ordered_json::parse(ApprovalJson(approval), nullptr, false));
    }
    json["nextPageToken"] = request.page_token();
    PrintLine(json.dump(-1, ' ', false, nlohmann::json::error_handler_t::replace));
    return absl::OkStatus();
  }
  Table table({"ID", "STATE", "RISK", "AGENT", "TARGET", "WHAT", "EXPIRES"});
  for (const v1::Approval& approval : all.approvals()) {
    const bool statement = approval.kind() == v1::APPROVAL_KIND_STATEMENT;
    table.Add({approval.id(),
               std::string(ApprovalStateName(approval.state())) + (approval.has_broken_glass() ? " GLASS BROKEN" : ""),
               approval.risk().empty() ? "-" : approval.risk(), approval.agent(), approval.target(),
               statement ? Clip(approval.binding().sql(), 60) : "token: " + Clip(approval.reason(), 50),
               FormatTime(approval.request_expire_time())});
  }
  table.Print(state == v1::APPROVAL_PENDING ? "nothing is waiting" : "no approvals");
  return absl::OkStatus();
}

absl::StatusOr<v1::Approval> GetApproval(Client& client, const std::string& id) {
  POSTERN_RETURN_IF_ERROR(client.Connect());
  auto stub = client.Stub<v1::ApprovalService>();
  v1::GetApprovalRequest request;
  request.set_id(id);
  return Call(*stub, &v1::ApprovalService::Stub::GetApproval, request);
}

// The shape is to be approved as well, within these bounds; those that are not given are the rule's.
struct ShapeOptions {
  bool wanted = false;
  int64_t rows = 0;
  std::string lifetime;
};

// Decides what the caller was shown: the etag of a read just before makes a change in between an error.
absl::Status Decide(Client& client, const std::string& id, const std::string& comment, bool approve,
                    const ShapeOptions& shape) {
  POSTERN_ASSIGN_OR_RETURN(const v1::Approval seen, GetApproval(client, id));
  auto stub = client.Stub<v1::ApprovalService>();
  v1::DecideApprovalRequest request;
  request.set_id(id);
  request.set_etag(seen.etag());
  request.set_comment(comment);
  request.set_request_id(NewUuid(Random::System()));
  if (shape.wanted) {
    const v1::TemplateSettings& most = seen.hold().template_();
    request.mutable_template_()->set_rows_max(shape.rows > 0 ? shape.rows : most.rows_max());
    request.mutable_template_()->set_for_seconds(most.for_seconds());
    if (!shape.lifetime.empty()) {
      POSTERN_ASSIGN_OR_RETURN(const absl::Duration lifetime, ParseDuration(shape.lifetime));
      request.mutable_template_()->set_for_seconds(absl::ToInt64Seconds(lifetime));
    }
  }
  POSTERN_ASSIGN_OR_RETURN(
      const v1::Approval decided,
      Call(*stub, approve ? &v1::ApprovalService::Stub::ApproveApproval : &v1::ApprovalService::Stub::DenyApproval,
           request));
  if (client.json) {
    PrintLine(ApprovalJson(decided));
  } else if (decided.state() == v1::APPROVAL_PENDING) {
    PrintLine(
        fmt::format("{}: your vote counts; {} more needed", id, decided.approvals_needed() - decided.votes_size()));
  } else {
    PrintLine(fmt::format("{} is {}", id, ApprovalStateName(decided.state())));
  }
  return absl::OkStatus();
}

// In a pipe: a line for each change.
absl::Status WatchLines(Client& client) {
  POSTERN_RETURN_IF_ERROR(client.Connect());
  auto stub = client.Stub<v1::ApprovalService>();
  grpc::ClientContext context;
  auto reader = stub->WatchApprovals(&context, v1::WatchApprovalsRequest());
  v1::Approval approval;
  while (reader->Read(&approval)) PrintLine(client.json ? ApprovalJson(approval) : SummariseApproval(approval));
  const grpc::Status end = reader->Finish();
  return end.error_code() == grpc::StatusCode::CANCELLED ? absl::OkStatus() : FromGrpc(end);
}

absl::Status Watch(Client& client, bool plain) {
  const bool terminal = isatty(STDIN_FILENO) == 1 && isatty(STDOUT_FILENO) == 1;
  return terminal && !plain && !client.json ? WatchScreen(client) : WatchLines(client);
}

const std::map<std::string, v1::ApprovalState> kStates = {
    {"pending", v1::APPROVAL_PENDING},      {"approved", v1::APPROVAL_APPROVED},   {"denied", v1::APPROVAL_DENIED},
    {"expired", v1::APPROVAL_EXPIRED},      {"cancelled", v1::APPROVAL_CANCELLED}, {"used", v1::APPROVAL_USED},
    {"all", v1::APPROVAL_STATE_UNSPECIFIED}};

void AddDecision(CLI::App& group, Env& env, const std::string& name, bool approve) {
  auto id = std::make_shared<std::string>();
  auto comment = std::make_shared<std::string>();
  auto shape = std::make_shared<ShapeOptions>();
  CLI::App* command =
      Leaf(group, env, name, approve ? "Approve it: your vote counts once" : "Deny it: one denial ends it",
           fmt::format("  postern approval {} apr_01h… --comment \"checked with finance\"", name),
           [&env, id, comment, approve, shape] { return Decide(env.client, *id, *comment, approve, *shape); });
  command->add_option("id", *id, "Approval id (apr_…)")->required();
  command->add_option("--comment", *comment, "Shown to the agent and kept");
  if (!approve) return;
  CLI::Option* flag = command->add_flag("--template", shape->wanted,
                                        "Approve the statement's shape for a while, where the rule allows it");
  command->add_option("--rows", shape->rows, "With --template: rows that each may change; the rule's most by default")
      ->needs(flag)
      ->check(CLI::PositiveNumber);
  command->add_option("--for", shape->lifetime, "With --template: e.g. 30m; the rule's longest by default")
      ->needs(flag);
}

}  // namespace

void AddApproval(CLI::App& app, Env& env) {
  CLI::App* group = Group(app, env, "approval", "See and decide what waits for a person");

  auto state = std::make_shared<std::string>("pending");
  auto review = std::make_shared<bool>(false);
  auto limit = std::make_shared<int>(50);
  CLI::App* list =
      Leaf(*group, env, "list", "List approvals, newest first",
           "  postern approval list\n  postern approval list --state all -o json",
           [&env, state, review, limit] { return ListApprovals(env.client, kStates.at(*state), *review, *limit); });
  list->add_flag("--review", *review, "Those whose glass was broken and that owe a review");
  list->add_option("--state", *state, "pending (default), approved, denied, expired, cancelled, used or all")
      ->check(CLI::IsMember(kStates));
  list->add_option("--limit", *limit, "At most this many")->check(CLI::PositiveNumber);

  auto id = std::make_shared<std::string>();
  CLI::App* show = Leaf(*group, env, "show", "Show one in full: who, why, the exact statement, the effects",
                        "  postern approval show apr_01h…", [&env, id]() -> absl::Status {
                          POSTERN_ASSIGN_OR_RETURN(const v1::Approval approval, GetApproval(env.client, *id));
                          PrintLine(env.client.json ? ApprovalJson(approval) : Trim(DescribeApproval(approval)));
                          return absl::OkStatus();
                        });
  show->add_option("id", *id, "Approval id (apr_…)")->required();

  AddDecision(*group, env, "approve", true);
  AddDecision(*group, env, "deny", false);
  auto plain = std::make_shared<bool>(false);
  CLI::App* watch = Leaf(*group, env, "watch", "Follow approvals as they come; on a terminal, decide them",
                         "  postern approval watch\n  postern approval watch -o json | jq .id",
                         [&env, plain] { return Watch(env.client, *plain); });
  watch->add_flag("--plain", *plain, "A line for each change, also on a terminal");
  AddApprovalCare(*group, env);
}

}  // namespace postern::cli
