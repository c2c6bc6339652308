#include "controlplane/webhook/webhook.h"

#include <algorithm>

#include "common/base/strings.h"
#include "common/base/timestamps.h"
#include "common/crypto/hash.h"
#include "fmt/format.h"
#include "fmt/ranges.h"
#include "nlohmann/json.hpp"

namespace postern::webhook {
namespace {

using Json = nlohmann::ordered_json;

constexpr size_t kLongestReason = 200;
constexpr int kMostEffects = 5;

std::string Rfc3339(const google::protobuf::Timestamp& time) {
  return absl::FormatTime(absl::RFC3339_sec, FromTimestamp(time), absl::UTCTimeZone());
}

// Without control characters, and not longer than a glance.
std::string Short(std::string_view text, size_t most) {
  std::string out;
  for (const char c : text.substr(0, most)) out += static_cast<unsigned char>(c) < 0x20 ? ' ' : c;
  while (out.size() == most && !out.empty() && (static_cast<unsigned char>(out.back()) & 0xC0) == 0x80) out.pop_back();
  return out;
}

// Slack's mark-up: without these three, text of an agent cannot call a channel or hide a link.
std::string SlackText(std::string_view text) {
  std::string out;
  for (const char c : text) {
    if (c == '&') {
      out += "&amp;";
    } else if (c == '<') {
      out += "&lt;";
    } else if (c == '>') {
      out += "&gt;";
    } else {
      out += c;
    }
  }
  return out;
}

// Markdown of Teams: the same for what could make a link or a mention of it.
std::string TeamsText(std::string_view text) {
  std::string out;
  for (const char c : text) {
    if (std::string_view("[]()*_<>`\\").find(c) != std::string_view::npos) out += '\\';
    out += c;
  }
  return out;
}

std::string Title(const v1::Approval& approval, std::string_view event) {
  const std::string what = approval.kind() == v1::APPROVAL_KIND_TOKEN ? "a token" : "a statement";
  if (event == "approval.pending")
    return fmt::format("{} asks for {} on {}", approval.agent(), what, approval.target());
  if (event == "approval.glass_broken") {
    return fmt::format("GLASS BROKEN by {}: {} of {} on {} was released alone", approval.broken_glass().by(), what,
                       approval.agent(), approval.target());
  }
  if (event == "approval.review_overdue") {
    return fmt::format("REVIEW OVERDUE: {} broke the glass for {} on {}", approval.broken_glass().by(),
                       approval.agent(), approval.target());
  }
  if (event == "approval.reviewed") {
    return fmt::format("{} reviewed the glass that {} broke: {}", approval.broken_glass().reviewed_by(),
                       approval.broken_glass().by(),
                       approval.broken_glass().review_ok() ? "justified" : "NOT justified");
  }
  return fmt::format("{} of {} on {} is {}", what, approval.agent(), approval.target(),
                     event.substr(std::string_view("approval.").size()));
}

// Name and value of what is told, in order.
std::vector<std::pair<std::string, std::string>> Facts(const v1::Approval& approval) {
  std::vector<std::pair<std::string, std::string>> facts;
  const auto add = [&](std::string name, std::string value) {
    if (!value.empty()) facts.emplace_back(std::move(name), std::move(value));
  };
  add("Agent", approval.agent());
  add("On behalf of", approval.on_behalf_of());
  add("Target", fmt::format("{}/{}", approval.target(), approval.database()));
  add("Reason", Short(approval.reason(), kLongestReason));
  add("Rule", approval.rule());
  add("Risk", approval.risk());
  std::vector<std::string> effects;
  for (const std::string& effect : approval.effects()) {
    // "update app.orders (status)": the columns are for those who look.
    if (static_cast<int>(effects.size()) < kMostEffects) effects.push_back(effect.substr(0, effect.find(" (")));
  }
  add("Does", fmt::format("{}", fmt::join(effects, ", ")));
  add("Needs", fmt::format("{} of {}", approval.approvals_needed(), fmt::join(approval.approver_groups(), ", ")));
  if (approval.state() == v1::APPROVAL_PENDING) add("Until", Rfc3339(approval.request_expire_time()));
  if (approval.in_transaction()) add("Locks", "held meanwhile: it is inside a transaction");
  return facts;
}

std::string LinkOf(const Endpoint& endpoint, const v1::Approval& approval) {
  std::string link = endpoint.link;
  for (size_t at = link.find("{id}"); at != std::string::npos; at = link.find("{id}"))
    link.replace(at, 4, approval.id());
  return link;
}

std::string CommandOf(const v1::Approval& approval) { return fmt::format("postern approval show {}", approval.id()); }

Json PosternBody(const Endpoint& endpoint, const v1::Approval& approval, std::string_view event,
                 std::string_view delivery_id) {
  Json body;
  body["event"] = std::string(event);
  body["delivery"] = std::string(delivery_id);
  body["approval"] = approval.id();
  body["state"] = v1::ApprovalState_Name(approval.state());
  body["kind"] = v1::ApprovalKind_Name(approval.kind());
  body["title"] = Title(approval, event);
  for (const auto& [name, value] : Facts(approval)) body["facts"][name] = value;
  body["command"] = CommandOf(approval);
  if (!endpoint.link.empty()) body["link"] = LinkOf(endpoint, approval);
  return body;
}

Json SlackBody(const Endpoint& endpoint, const v1::Approval& approval, std::string_view event) {
  const std::string title = SlackText(Title(approval, event));
  std::string text;
  for (const auto& [name, value] : Facts(approval)) text += fmt::format("*{}*: {}\n", name, SlackText(value));
  text += endpoint.link.empty() ? fmt::format("`{}`", CommandOf(approval))
                                : fmt::format("<{}|{}>", LinkOf(endpoint, approval), approval.id());
  Json body;
  body["text"] = title;
  body["blocks"] = Json::array({{{"type", "section"}, {"text", {{"type", "mrkdwn"}, {"text", "*" + title + "*"}}}},
                                {{"type", "section"}, {"text", {{"type", "mrkdwn"}, {"text", text}}}}});
  return body;
}

// An Adaptive Card in a message, as workflows of Teams take it.
Json TeamsBody(const Endpoint& endpoint, const v1::Approval& approval, std::string_view event) {
  Json facts = Json::array();
  for (const auto& [name, value] : Facts(approval)) facts.push_back({{"title", name}, {"value", TeamsText(value)}});
  Json card = {
      {"$schema", "http://adaptivecards.io/schemas/adaptive-card.json"},
      {"type", "AdaptiveCard"},
      {"version", "1.4"},
      {"body",
       Json::array(
           {{{"type", "TextBlock"}, {"weight", "Bolder"}, {"wrap", true}, {"text", TeamsText(Title(approval, event))}},
            {{"type", "FactSet"}, {"facts", facts}},
            {{"type", "TextBlock"}, {"fontType", "Monospace"}, {"text", CommandOf(approval)}}})}};
  if (!endpoint.link.empty()) {
    card["actions"] =
        Json::array({{{"type", "Action.OpenUrl"}, {"title", "Look at it"}, {"url", LinkOf(endpoint, approval)}}});
  }
  Json body;
  body["type"] = "message";
  body["attachments"] = Json::array({{{"contentType", "application/vnd.microsoft.card.adaptive"}, {"content", card}}});
  return body;
}

// Events API v2: what waits is an incident, and what is decided resolves it.
Json PagerDutyBody(const Endpoint& endpoint, const v1::Approval& approval, std::string_view event) {
  const bool glass = event == "approval.glass_broken" || event == "approval.review_overdue";
  const bool opens = event == "approval.pending" || glass;
  Json body;
  body["routing_key"] = "";
  body["event_action"] = opens ? "trigger" : "resolve";
  const bool about_review = glass || event == "approval.reviewed";
  body["dedup_key"] = approval.id() + (about_review ? "/review" : "");
  body["payload"]["summary"] = Title(approval, event);
  body["payload"]["source"] = fmt::format("postern/{}", approval.target());
  body["payload"]["severity"] = glass || approval.risk() == "high" ? "critical" : "warning";
  for (const auto& [name, value] : Facts(approval)) body["payload"]["custom_details"][name] = value;
  body["payload"]["custom_details"]["Command"] = CommandOf(approval);
  if (!endpoint.link.empty()) {
    body["links"] = Json::array({{{"href", LinkOf(endpoint, approval)}, {"text", approval.id()}}});
  }
  return body;
}

}  // namespace

const std::vector<std::string>& Events() {
  static const std::vector<std::string> kEvents = {
      "approval.pending",   "approval.approved",     "approval.denied",         "approval.expired",
      "approval.cancelled", "approval.glass_broken", "approval.review_overdue", "approval.reviewed"};
  return kEvents;
}

std::vector<std::string> EventsOf(const v1::Approval& approval) {
  std::vector<std::string> events;
  switch (approval.state()) {
    case v1::APPROVAL_PENDING:
      events.emplace_back("approval.pending");
      break;
    case v1::APPROVAL_APPROVED:
    case v1::APPROVAL_USED:
      // A template's own approval was told; each that it lets through is in the audit log.
      if (!approval.by_template()) events.emplace_back("approval.approved");
      break;
    case v1::APPROVAL_DENIED:
      events.emplace_back("approval.denied");
      break;
    case v1::APPROVAL_EXPIRED:
      events.emplace_back("approval.expired");
      break;
    case v1::APPROVAL_CANCELLED:
      events.emplace_back("approval.cancelled");
      break;
    default:
      break;
  }
  if (approval.has_broken_glass()) {
    events.emplace_back("approval.glass_broken");
    if (approval.broken_glass().overdue()) events.emplace_back("approval.review_overdue");
    if (approval.broken_glass().has_review_time()) events.emplace_back("approval.reviewed");
  }
  return events;
}

bool Wants(const Endpoint& endpoint, const v1::Approval& approval, std::string_view event) {
  if (!endpoint.events.empty() && !endpoint.events.contains(std::string(event))) return false;
  return endpoint.groups.empty() ||
         std::any_of(approval.approver_groups().begin(), approval.approver_groups().end(),
                     [&](const std::string& group) { return endpoint.groups.contains(group); });
}

std::string Payload(const Endpoint& endpoint, const v1::Approval& approval, std::string_view event,
                    std::string_view delivery_id) {
  Json body;
  switch (endpoint.shape) {
    case Shape::kSlack:
      body = SlackBody(endpoint, approval, event);
      break;
    case Shape::kTeams:
      body = TeamsBody(endpoint, approval, event);
      break;
    case Shape::kPagerDuty:
      body = PagerDutyBody(endpoint, approval, event);
      break;
    default:
      body = PosternBody(endpoint, approval, event, delivery_id);
      break;
  }
  return body.dump(-1, ' ', false, Json::error_handler_t::replace);
}

std::string Outgoing(const Endpoint& endpoint, std::string_view kept) {
  if (endpoint.shape != Shape::kPagerDuty) return std::string(kept);
  Json body = Json::parse(kept, nullptr, /*allow_exceptions=*/false);
  if (!body.is_object()) return std::string(kept);
  body["routing_key"] = std::string(endpoint.routing_key.Expose());
  return body.dump(-1, ' ', false, Json::error_handler_t::replace);
}

std::string Signature(const crypto::Secret& secret, std::string_view delivery_id, std::string_view body,
                      absl::Time now) {
  const int64_t seconds = absl::ToUnixSeconds(now);
  const std::string mac = crypto::HmacSha256(secret, fmt::format("{}.{}.{}", seconds, delivery_id, body));
  return fmt::format("t={},v1={}", seconds, crypto::HexEncode(mac));
}

absl::Duration RetryAfter(int attempt) {
  // Two hours in all: whoever was away for longer looks at what is pending, not at old messages.
  constexpr int kSeconds[] = {5, 15, 60, 300, 900, 1800, 3600};
  if (attempt < 1 || attempt > static_cast<int>(std::size(kSeconds))) return absl::InfiniteDuration();
  return absl::Seconds(kSeconds[attempt - 1]);
}

}  // namespace postern::webhook
