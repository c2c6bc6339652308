#include "cli/commands/commands.h"
#include "cli/output.h"
#include "cli/text.h"
#include "common/base/status_macros.h"
#include "fmt/format.h"
#include "fmt/ranges.h"
#include "postern/v1/identity.grpc.pb.h"

namespace postern::cli {

void AddWhoami(CLI::App& app, Env& env) {
  Leaf(app, env, "whoami", "Show who the control plane takes you for",
       "  postern whoami\n  postern --profile agent whoami -o json", [&env]() -> absl::Status {
         POSTERN_RETURN_IF_ERROR(env.client.Connect());
         auto stub = env.client.Stub<v1::IdentityService>();
         POSTERN_ASSIGN_OR_RETURN(const v1::Principal me,
                                  Call(*stub, &v1::IdentityService::Stub::WhoAmI, v1::WhoAmIRequest()));
         if (env.client.json) {
           PrintLine(ToJson(me));
           return absl::OkStatus();
         }
         PrintLine(fmt::format("{} ({})", Printable(me.id()), me.kind() == v1::PERSON ? "person" : "agent"));
         PrintLine(fmt::format("groups: {}", fmt::join(me.groups(), ", ")));
         PrintLine(fmt::format("roles:  {}", fmt::join(me.roles(), ", ")));
         PrintLine(fmt::format("proved by {} at {}", me.method(), env.client.profile().controlplane));
         return absl::OkStatus();
       });
}

}  // namespace postern::cli
