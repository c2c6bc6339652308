#include <memory>

#include "cli/commands/commands.h"
#include "cli/output.h"
#include "cli/text.h"
#include "common/base/ids.h"
#include "common/base/random.h"
#include "common/base/status_macros.h"
#include "fmt/format.h"
#include "fmt/ranges.h"
#include "postern/v1/sidecar.grpc.pb.h"

namespace postern::cli {
namespace {

absl::Status Invite(Client& client, const std::string& name, const std::string& targets) {
  v1::InviteSidecarRequest request;
  request.set_name(name);
  for (std::string& target : SplitCommas(targets)) request.add_targets(std::move(target));
  if (request.targets_size() == 0) return Usage("--targets names no target");
  request.set_request_id(NewUuid(Random::System()));
  POSTERN_RETURN_IF_ERROR(client.Connect());
  auto stub = client.Stub<v1::SidecarService>();
  POSTERN_ASSIGN_OR_RETURN(const v1::InviteSidecarResponse invited,
                           Call(*stub, &v1::SidecarService::Stub::InviteSidecar, request));
  PrintLine(client.json ? ToJson(invited) : invited.join_line());
  return absl::OkStatus();
}

absl::Status ListSidecars(Client& client) {
  POSTERN_RETURN_IF_ERROR(client.Connect());
  auto stub = client.Stub<v1::SidecarService>();
  v1::ListSidecarsRequest request;
  v1::ListSidecarsResponse all;
  do {
    POSTERN_ASSIGN_OR_RETURN(v1::ListSidecarsResponse page,
                             Call(*stub, &v1::SidecarService::Stub::ListSidecars, request));
    all.mutable_sidecars()->MergeFrom(page.sidecars());
    request.set_page_token(page.next_page_token());
  } while (!request.page_token().empty());
  if (client.json) {
    PrintLine(ToJson(all));
    return absl::OkStatus();
  }
  Table table({"ID", "NAME", "STATE", "TARGETS", "ADDRESS", "LAST SEEN", "CERTIFICATE UNTIL"});
  for (const v1::Sidecar& sidecar : all.sidecars()) {
    table.Add({sidecar.id(), sidecar.name(),
               sidecar.revoked()     ? "revoked"
               : sidecar.connected() ? "connected"
                                     : "away",
               fmt::format("{}", fmt::join(sidecar.targets(), ",")),
               fmt::format("{}:{}", sidecar.advertise_host(), sidecar.advertise_port()),
               FormatTime(sidecar.last_seen_time()), FormatTime(sidecar.certificate_expire_time())});
  }
  table.Print("no sidecars");
  return absl::OkStatus();
}

}  // namespace

void AddSidecar(CLI::App& app, Env& env) {
  CLI::App* group = Group(app, env, "sidecar", "Invite, list and revoke sidecars");

  auto name = std::make_shared<std::string>();
  auto targets = std::make_shared<std::string>();
  CLI::App* invite =
      Leaf(*group, env, "invite", "Print the line with which a new sidecar joins, once, within 15 minutes",
           "  postern sidecar invite --name db-host-1 --targets orders",
           [&env, name, targets] { return Invite(env.client, *name, *targets); });
  invite->add_option("--name", *name, "What to call it")->required();
  invite->add_option("--targets", *targets, "Targets that it may serve, comma separated")->required();

  Leaf(*group, env, "list", "List sidecars", "  postern sidecar list", [&env] { return ListSidecars(env.client); });

  auto id = std::make_shared<std::string>();
  auto reason = std::make_shared<std::string>();
  CLI::App* revoke =
      Leaf(*group, env, "revoke", "Refuse a sidecar from now on; its stream ends at once",
           "  postern sidecar revoke sdc_01h… --reason \"host retired\"", [&env, id, reason]() -> absl::Status {
             POSTERN_RETURN_IF_ERROR(env.client.Connect());
             auto stub = env.client.Stub<v1::SidecarService>();
             v1::RevokeSidecarRequest request;
             request.set_id(*id);
             request.set_reason(*reason);
             request.set_request_id(NewUuid(Random::System()));
             POSTERN_ASSIGN_OR_RETURN(const v1::Sidecar sidecar,
                                      Call(*stub, &v1::SidecarService::Stub::RevokeSidecar, request));
             PrintLine(env.client.json ? ToJson(sidecar) : fmt::format("{} is revoked", sidecar.id()));
             return absl::OkStatus();
           });
  revoke->add_option("id", *id, "Sidecar id (sdc_…)")->required();
  revoke->add_option("--reason", *reason, "Why; kept in the audit log");
}

}  // namespace postern::cli
