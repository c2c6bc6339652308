#include <cstdio>
#include <memory>

#include "absl/time/clock.h"
#include "cli/commands/commands.h"
#include "cli/output.h"
#include "cli/text.h"
#include "common/base/ids.h"
#include "common/base/random.h"
#include "common/base/status_macros.h"
#include "fmt/format.h"
#include "fmt/ranges.h"
#include "postern/v1/session.grpc.pb.h"

namespace postern::cli {
namespace {

std::string_view SessionStateName(v1::SessionState state) {
  switch (state) {
    case v1::SESSION_LIVE:
      return "live";
    case v1::SESSION_ENDED:
      return "ended";
    default:
      return "unknown";
  }
}

absl::Status ListSessions(Client& client, v1::ListSessionsRequest request, int limit) {
  POSTERN_RETURN_IF_ERROR(client.Connect());
  auto stub = client.Stub<v1::SessionService>();
  v1::ListSessionsResponse all;
  do {
    request.set_page_size(std::min(1000, limit - all.sessions_size()));
    POSTERN_ASSIGN_OR_RETURN(v1::ListSessionsResponse page,
                             Call(*stub, &v1::SessionService::Stub::ListSessions, request));
    all.mutable_sessions()->MergeFrom(page.sessions());
    request.set_page_token(page.next_page_token());
  } while (!request.page_token().empty() && all.sessions_size() < limit);
  all.set_next_page_token(request.page_token());
  if (client.json) {
    PrintLine(ToJson(all));
    return absl::OkStatus();
  }
  Table table({"ID", "STATE", "AGENT", "TARGET", "DATABASE", "ROLE", "FROM", "STARTED", "ENDED"});
  for (const v1::Session& session : all.sessions()) {
    table.Add({session.id(), std::string(SessionStateName(session.state())), session.agent(), session.target(),
               session.database(), session.role(), session.client_address(), FormatTime(session.start_time()),
               session.end_reason().empty()
                   ? FormatTime(session.end_time())
                   : fmt::format("{} ({})", FormatTime(session.end_time()), session.end_reason())});
  }
  table.Print("no sessions");
  return absl::OkStatus();
}

absl::Status Show(Client& client, const std::string& id) {
  POSTERN_RETURN_IF_ERROR(client.Connect());
  auto stub = client.Stub<v1::SessionService>();
  v1::GetSessionRequest request;
  request.set_id(id);
  POSTERN_ASSIGN_OR_RETURN(const v1::Session session, Call(*stub, &v1::SessionService::Stub::GetSession, request));
  if (client.json) {
    PrintLine(ToJson(session));
    return absl::OkStatus();
  }
  PrintLine(fmt::format("{}  {}", session.id(), SessionStateName(session.state())));
  PrintLine(fmt::format("agent:    {}{}", Printable(session.agent()),
                        session.on_behalf_of().empty() ? "" : " on behalf of " + Printable(session.on_behalf_of())));
  PrintLine(fmt::format("grant:    {}", session.grant_id()));
  PrintLine(fmt::format("target:   {}/{} as {}", session.target(), session.database(), session.role()));
  PrintLine(
      fmt::format("client:   {} ({})", Printable(session.client_address()), Printable(session.application_name())));
  PrintLine(fmt::format("sidecar:  {}", session.sidecar_id()));
  PrintLine(fmt::format("started:  {}", FormatTime(session.start_time())));
  PrintLine(fmt::format("ended:    {} {}", FormatTime(session.end_time()), Printable(session.end_reason())));
  return absl::OkStatus();
}

// The lines of one record in a replay.
std::string ReplayText(const v1::AuditRecord& record) {
  switch (record.kind()) {
    case v1::SESSION_START:
      return fmt::format("session of {} on {}/{} from {}", record.agent(), record.target(), record.database(),
                         record.client_address());
    case v1::SESSION_END:
      return fmt::format("session ends{}", record.reason().empty() ? "" : ": " + record.reason());
    case v1::STATEMENT_INTENT: {
      std::string text = fmt::format("[{}] {}", record.decision(), record.sql());
      if (!record.rule().empty()) text += fmt::format("\n             rule {}", record.rule());
      if (record.decision() == "deny" && !record.reason().empty())
        text += fmt::format("\n             {}", record.reason());
      if (!record.approval_id().empty()) text += fmt::format("\n             approval {}", record.approval_id());
      if (!record.masks().empty()) text += fmt::format("\n             masked {}", fmt::join(record.masks(), ", "));
      return text;
    }
    case v1::STATEMENT_OUTCOME:
      return fmt::format("  -> {}{} {} rows, {} bytes, {:.1f} ms", record.outcome(),
                         record.sqlstate().empty() ? "" : " " + record.sqlstate(), record.rows(), record.bytes(),
                         static_cast<double>(record.duration_micros()) / 1000.0);
    case v1::HOLD:
      return fmt::format("  hold {}: {}", record.approval_id(), record.action());
    case v1::ALARM:
      return fmt::format("ALARM {}", record.action());
    default:
      return record.action();
  }
}

absl::Status Replay(Client& client, const std::string& id, double speed) {
  POSTERN_RETURN_IF_ERROR(client.Connect());
  auto stub = client.Stub<v1::SessionService>();
  grpc::ClientContext context;
  v1::ReplaySessionRequest request;
  request.set_id(id);
  auto reader = stub->ReplaySession(&context, request);
  v1::LoggedRecord logged;
  absl::Time first = absl::InfinitePast();
  absl::Time previous = absl::InfinitePast();
  while (reader->Read(&logged)) {
    if (client.json) {
      PrintLine(AuditJson(logged));
      continue;
    }
    v1::AuditRecord record;
    if (!record.ParseFromString(logged.chained().record())) continue;
    const absl::Time time = FromProto(record.time());
    if (first == absl::InfinitePast()) first = previous = time;
    if (speed > 0) absl::SleepFor((time - previous) / speed);
    previous = time;
    std::string text = ReplayText(record);
    std::string line = fmt::format("{:>10.3f}s  ", absl::ToDoubleSeconds(time - first));
    for (const char c : text) line += c == '\n' ? '\n' : Printable(std::string_view(&c, 1))[0];
    PrintLine(line);
  }
  return FromGrpc(reader->Finish());
}

absl::Status Kill(Client& client, const std::string& id, const std::string& reason) {
  POSTERN_RETURN_IF_ERROR(client.Connect());
  auto stub = client.Stub<v1::SessionService>();
  v1::KillSessionRequest request;
  request.set_id(id);
  request.set_reason(reason);
  request.set_request_id(NewUuid(Random::System()));
  POSTERN_ASSIGN_OR_RETURN(const v1::Session session, Call(*stub, &v1::SessionService::Stub::KillSession, request));
  PrintLine(client.json ? ToJson(session) : fmt::format("{} is being cut", session.id()));
  return absl::OkStatus();
}

}  // namespace

void AddSession(CLI::App& app, Env& env) {
  CLI::App* group = Group(app, env, "session", "See, replay and end sessions");

  struct ListOptions {
    std::string agent, target;
    bool live = false;
    int limit = 50;
  };
  auto options = std::make_shared<ListOptions>();
  CLI::App* list = Leaf(*group, env, "list", "List sessions, newest first",
                        "  postern session list --live\n  postern session list -o json", [&env, options] {
                          v1::ListSessionsRequest request;
                          request.set_agent(options->agent);
                          request.set_target(options->target);
                          request.set_live_only(options->live);
                          return ListSessions(env.client, std::move(request), options->limit);
                        });
  list->add_option("--agent", options->agent, "Only this agent's");
  list->add_option("--target", options->target, "Only on this target");
  list->add_flag("--live", options->live, "Only live ones");
  list->add_option("--limit", options->limit, "At most this many")->check(CLI::PositiveNumber);

  auto id = std::make_shared<std::string>();
  Leaf(*group, env, "show", "Show one session", "  postern session show ses_01h…",
       [&env, id] { return Show(env.client, *id); })
      ->add_option("id", *id, "Session id (ses_…)")
      ->required();

  auto replay_id = std::make_shared<std::string>();
  auto speed = std::make_shared<double>(0);
  CLI::App* replay =
      Leaf(*group, env, "replay", "Print what a session did, from the audit log",
           "  postern session replay ses_01h…\n  postern session replay ses_01h… --speed 1   # in its own time",
           [&env, replay_id, speed] { return Replay(env.client, *replay_id, *speed); });
  replay->add_option("id", *replay_id, "Session id (ses_…)")->required();
  replay->add_option("--speed", *speed, "1: as it was, 10: ten times faster; default: all at once")
      ->check(CLI::NonNegativeNumber);

  auto kill_id = std::make_shared<std::string>();
  auto reason = std::make_shared<std::string>();
  CLI::App* kill = Leaf(*group, env, "kill", "Cut a live session: its statement is cancelled, both connections close",
                        "  postern session kill ses_01h… --reason \"runaway query\"",
                        [&env, kill_id, reason] { return Kill(env.client, *kill_id, *reason); });
  kill->add_option("id", *kill_id, "Session id (ses_…)")->required();
  kill->add_option("--reason", *reason, "Why; kept in the audit log");
}

}  // namespace postern::cli
