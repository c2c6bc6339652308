#include <cstdio>

#include "cli/commands/commands.h"
#include "cli/commands/mint.h"
#include "cli/output.h"
#include "cli/text.h"
#include "common/base/errors.h"
#include "common/base/ids.h"
#include "common/base/random.h"
#include "common/base/status_macros.h"
#include "fmt/format.h"
#include "fmt/ranges.h"
#include "postern/v1/approval.grpc.pb.h"
#include "postern/v1/token.grpc.pb.h"

namespace postern::cli {
namespace {

std::string_view GrantStateName(v1::GrantState state) {
  switch (state) {
    case v1::GRANT_PENDING_APPROVAL:
      return "pending approval";
    case v1::GRANT_ACTIVE:
      return "active";
    case v1::GRANT_DENIED:
      return "denied";
    case v1::GRANT_EXPIRED:
      return "expired";
    case v1::GRANT_REVOKED:
      return "revoked";
    default:
      return "unknown";
  }
}

// Waits until the approval is decided. Reads the stream: no polling.
absl::Status WaitForApproval(Client& client, const std::string& id) {
  auto stub = client.Stub<v1::ApprovalService>();
  grpc::ClientContext context;
  v1::WatchApprovalsRequest request;
  request.set_id(id);
  auto reader = stub->WatchApprovals(&context, request);
  v1::Approval approval;
  while (reader->Read(&approval)) {
    if (approval.state() == v1::APPROVAL_PENDING) continue;
    context.TryCancel();
    reader->Finish();
    if (approval.state() == v1::APPROVAL_APPROVED || approval.state() == v1::APPROVAL_USED) return absl::OkStatus();
    std::string comment;
    for (const v1::Vote& vote : approval.votes()) {
      if (!vote.approve() && !vote.comment().empty()) comment = fmt::format(": {}", vote.comment());
    }
    if (approval.state() == v1::APPROVAL_DENIED) {
      return Error(absl::StatusCode::kPermissionDenied, "APPROVAL_DENIED", fmt::format("{} was denied{}", id, comment),
                   "ask the approver, then request again");
    }
    return Error(absl::StatusCode::kPermissionDenied, "APPROVAL_EXPIRED",
                 fmt::format("{} expired or was withdrawn", id), "request again when an approver is there");
  }
  return FromGrpc(reader->Finish());
}

absl::StatusOr<v1::MintTokenRequest> ToRequest(const MintOptions& options) {
  v1::MintTokenRequest request;
  v1::Intent* intent = request.mutable_intent();
  intent->set_target(options.target);
  intent->set_database(options.database);
  for (std::string& verb : SplitCommas(options.verbs)) intent->add_do_(std::move(verb));
  if (intent->do__size() == 0) return Usage("--do names no verb", "e.g. --do select or --do all");
  for (std::string& object : SplitCommas(options.objects)) intent->add_objects(std::move(object));
  intent->set_reason(options.reason);
  intent->set_on_behalf_of(options.on_behalf_of);
  if (!options.ttl.empty()) {
    POSTERN_ASSIGN_OR_RETURN(const absl::Duration ttl, ParseDuration(options.ttl));
    if (ttl < absl::Seconds(1)) return Usage("--ttl must be at least 1s");
    intent->set_ttl_seconds(absl::ToInt64Seconds(ttl));
  }
  if (!options.request_id.empty() && !IsUuid(options.request_id)) return Usage("--request-id is not a UUID");
  request.set_request_id(options.request_id.empty() ? NewUuid(Random::System()) : options.request_id);
  return request;
}

absl::Status ListTokens(Client& client, v1::ListGrantsRequest request, int limit) {
  POSTERN_RETURN_IF_ERROR(client.Connect());
  auto stub = client.Stub<v1::TokenService>();
  v1::ListGrantsResponse all;
  do {
    request.set_page_size(std::min(1000, limit - all.grants_size()));
    POSTERN_ASSIGN_OR_RETURN(v1::ListGrantsResponse page, Call(*stub, &v1::TokenService::Stub::ListGrants, request));
    all.mutable_grants()->MergeFrom(page.grants());
    request.set_page_token(page.next_page_token());
  } while (!request.page_token().empty() && all.grants_size() < limit);
  all.set_next_page_token(request.page_token());
  if (client.json) {
    PrintLine(ToJson(all));
    return absl::OkStatus();
  }
  Table table({"ID", "STATE", "AGENT", "TARGET", "DO", "EXPIRES", "REASON"});
  for (const v1::Grant& grant : all.grants()) {
    table.Add({grant.id(), std::string(GrantStateName(grant.state())), grant.agent(), grant.intent().target(),
               fmt::format("{}", fmt::join(grant.intent().do_(), ",")), FormatTime(grant.expire_time()),
               Clip(grant.intent().reason(), 40)});
  }
  table.Print("no tokens");
  return absl::OkStatus();
}

}  // namespace

void AddMintOptions(CLI::App* command, MintOptions& options) {
  command->add_option("--target", options.target, "Name of the target")->required();
  command->add_option("--do", options.verbs, "Verbs, comma separated, or all")->required();
  command->add_option("--objects", options.objects, "schema.relation patterns, comma separated");
  command->add_option("--reason", options.reason, "Why: shown to approvers, kept in the audit log")->required();
  command->add_option("--ttl", options.ttl, "Lifetime, e.g. 5m; policy may allow less");
  command->add_option("--database", options.database, "Database; default: the target's");
  command->add_option("--on-behalf-of", options.on_behalf_of, "The person whose errand this is");
  command->add_option("--request-id", options.request_id, "UUID; repeating it collects the same grant");
}

absl::StatusOr<v1::MintTokenResponse> Mint(Client& client, const MintOptions& options) {
  POSTERN_ASSIGN_OR_RETURN(const v1::MintTokenRequest request, ToRequest(options));
  POSTERN_RETURN_IF_ERROR(client.Connect());
  auto stub = client.Stub<v1::TokenService>();
  POSTERN_ASSIGN_OR_RETURN(v1::MintTokenResponse response, Call(*stub, &v1::TokenService::Stub::MintToken, request));
  if (response.grant().state() != v1::GRANT_PENDING_APPROVAL) return response;

  const std::string& approval = response.grant().approval_id();
  if (!options.wait) {
    return Error(absl::StatusCode::kFailedPrecondition, "APPROVAL_PENDING",
                 fmt::format("the token waits for approval {}", approval),
                 fmt::format("repeat with --wait --request-id {} to collect it", request.request_id()));
  }
  std::fprintf(stderr, "postern: waiting for approval %s\n", approval.c_str());
  POSTERN_RETURN_IF_ERROR(WaitForApproval(client, approval));
  return Call(*stub, &v1::TokenService::Stub::MintToken, request);
}

void AddToken(CLI::App& app, Env& env) {
  CLI::App* token = Group(app, env, "token", "Ask for, list and revoke tokens");

  auto mint = std::make_shared<MintOptions>();
  CLI::App* request = Leaf(
      *token, env, "request", "Ask for a token and print it, and nothing else, on stdout",
      "  postern token request --target orders --do select --reason \"refund 4711\"\n"
      "  postern token request --target orders --do select,update --objects app.orders --reason \"…\" --ttl 5m --wait",
      [&env, mint]() -> absl::Status {
        POSTERN_ASSIGN_OR_RETURN(const v1::MintTokenResponse response, Mint(env.client, *mint));
        PrintLine(env.client.json ? ToJson(response) : response.token());
        return absl::OkStatus();
      });
  AddMintOptions(request, *mint);
  request->add_flag("--wait", mint->wait, "If the token needs approval, wait for it");

  struct ListOptions {
    std::string agent, target;
    bool active = false;
    int limit = 50;
  };
  auto list = std::make_shared<ListOptions>();
  CLI::App* list_command =
      Leaf(*token, env, "list", "List grants, newest first",
           "  postern token list --active\n  postern token list -o json", [&env, list]() -> absl::Status {
             v1::ListGrantsRequest query;
             query.set_agent(list->agent);
             query.set_target(list->target);
             query.set_active_only(list->active);
             return ListTokens(env.client, std::move(query), list->limit);
           });
  list_command->add_option("--agent", list->agent, "Only this agent's");
  list_command->add_option("--target", list->target, "Only on this target");
  list_command->add_flag("--active", list->active, "Only those that are active");
  list_command->add_option("--limit", list->limit, "At most this many")->check(CLI::PositiveNumber);

  auto id = std::make_shared<std::string>();
  auto reason = std::make_shared<std::string>();
  CLI::App* revoke_command = Leaf(
      *token, env, "revoke", "Revoke a grant: its token and its live sessions end at once",
      "  postern token revoke grt_01h…  --reason \"no longer needed\"", [&env, id, reason]() -> absl::Status {
        POSTERN_RETURN_IF_ERROR(env.client.Connect());
        auto stub = env.client.Stub<v1::TokenService>();
        v1::RevokeGrantRequest revocation;
        revocation.set_id(*id);
        revocation.set_reason(*reason);
        revocation.set_request_id(NewUuid(Random::System()));
        POSTERN_ASSIGN_OR_RETURN(const v1::Grant grant, Call(*stub, &v1::TokenService::Stub::RevokeGrant, revocation));
        PrintLine(env.client.json ? ToJson(grant) : fmt::format("{} is {}", grant.id(), GrantStateName(grant.state())));
        return absl::OkStatus();
      });
  revoke_command->add_option("id", *id, "Grant id (grt_…)")->required();
  revoke_command->add_option("--reason", *reason, "Why; shown to the agent and kept in the audit log");
}

}  // namespace postern::cli
