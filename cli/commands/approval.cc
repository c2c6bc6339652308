#include <cstdio>
#include <memory>

#include <unistd.h>

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

absl::Status ListApprovals(Client& client, v1::ApprovalState state, int limit) {
  POSTERN_RETURN_IF_ERROR(client.Connect());
  auto stub = client.Stub<v1::ApprovalService>();
  v1::ListApprovalsRequest request;
  request.set_state(state);
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
  Table table({"ID", "STATE", "AGENT", "TARGET", "WHAT", "EXPIRES"});
  for (const v1::Approval& approval : all.approvals()) {
    const bool statement = approval.kind() == v1::APPROVAL_KIND_STATEMENT;
    table.Add({approval.id(), std::string(ApprovalStateName(approval.state())), approval.agent(), approval.target(),
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

// Decides what the caller was shown: the etag of a read just before makes a change in between an error.
absl::Status Decide(Client& client, const std::string& id, const std::string& comment, bool approve) {
  POSTERN_ASSIGN_OR_RETURN(const v1::Approval seen, GetApproval(client, id));
  auto stub = client.Stub<v1::ApprovalService>();
  v1::DecideApprovalRequest request;
  request.set_id(id);
  request.set_etag(seen.etag());
  request.set_comment(comment);
  request.set_request_id(NewUuid(Random::System()));
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

// On a terminal: each pending approval in full, then a question. In a pipe: a line for each change.
absl::Status Watch(Client& client) {
  POSTERN_RETURN_IF_ERROR(client.Connect());
  auto stub = client.Stub<v1::ApprovalService>();
  grpc::ClientContext context;
  auto reader = stub->WatchApprovals(&context, v1::WatchApprovalsRequest());
  const bool interactive = isatty(STDIN_FILENO) == 1 && isatty(STDOUT_FILENO) == 1 && !client.json;
  v1::Approval approval;
  while (reader->Read(&approval)) {
    if (client.json) {
      PrintLine(ApprovalJson(approval));
    } else if (!interactive || approval.state() != v1::APPROVAL_PENDING) {
      PrintLine(SummariseApproval(approval));
    } else {
      PrintLine("\n" + DescribeApproval(approval));
      std::fputs("[a]pprove, [d]eny, [s]kip, [q]uit? ", stdout);
      std::fflush(stdout);
      char line[512];
      if (std::fgets(line, sizeof line, stdin) == nullptr || line[0] == 'q') break;
      if (line[0] == 'a' || line[0] == 'd') {
        const absl::Status decided = Decide(client, approval.id(), Trim(line + 1), line[0] == 'a');
        if (!decided.ok()) std::fprintf(stderr, "postern: %s\n", std::string(decided.message()).c_str());
      }
    }
  }
  context.TryCancel();
  const grpc::Status end = reader->Finish();
  return end.error_code() == grpc::StatusCode::CANCELLED ? absl::OkStatus() : FromGrpc(end);
}

const std::map<std::string, v1::ApprovalState> kStates = {
    {"pending", v1::APPROVAL_PENDING},      {"approved", v1::APPROVAL_APPROVED},   {"denied", v1::APPROVAL_DENIED},
    {"expired", v1::APPROVAL_EXPIRED},      {"cancelled", v1::APPROVAL_CANCELLED}, {"used", v1::APPROVAL_USED},
    {"all", v1::APPROVAL_STATE_UNSPECIFIED}};

void AddDecision(CLI::App& group, Env& env, const std::string& name, bool approve) {
  auto id = std::make_shared<std::string>();
  auto comment = std::make_shared<std::string>();
  CLI::App* command =
      Leaf(group, env, name, approve ? "Approve it: your vote counts once" : "Deny it: one denial ends it",
           fmt::format("  postern approval {} apr_01h… --comment \"checked with finance\"", name),
           [&env, id, comment, approve] { return Decide(env.client, *id, *comment, approve); });
  command->add_option("id", *id, "Approval id (apr_…)")->required();
  command->add_option("--comment", *comment, "Shown to the agent and kept");
}

}  // namespace

void AddApproval(CLI::App& app, Env& env) {
  CLI::App* group = Group(app, env, "approval", "See and decide what waits for a person");

  auto state = std::make_shared<std::string>("pending");
  auto limit = std::make_shared<int>(50);
  CLI::App* list = Leaf(*group, env, "list", "List approvals, newest first",
                        "  postern approval list\n  postern approval list --state all -o json",
                        [&env, state, limit] { return ListApprovals(env.client, kStates.at(*state), *limit); });
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
  Leaf(*group, env, "watch", "Follow approvals as they come; on a terminal, decide them",
       "  postern approval watch\n  postern approval watch -o json | jq .id", [&env] { return Watch(env.client); });
}

}  // namespace postern::cli
