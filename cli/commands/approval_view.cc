#include "cli/commands/approval_view.h"

#include "cli/output.h"
#include "cli/text.h"
#include "fmt/format.h"
#include "fmt/ranges.h"
#include "nlohmann/json.hpp"

namespace postern::cli {
namespace {

// Keeps line breaks of a statement, replaces everything else that could drive the terminal.
std::string PrintableLines(std::string_view text, std::string_view indent) {
  std::string out;
  size_t begin = 0;
  while (begin <= text.size()) {
    const size_t end = std::min(text.find('\n', begin), text.size());
    out += std::string(indent) + Printable(text.substr(begin, end - begin)) + "\n";
    begin = end + 1;
  }
  return out;
}

std::string ValuesText(const v1::StatementBinding& binding) {
  std::string out;
  for (int i = 0; i < binding.values_size(); ++i) {
    const v1::BindValue& value = binding.values(i);
    const std::string shown = value.is_null()       ? "NULL"
                              : value.format() == 1 ? fmt::format("({} bytes, binary)", value.value().size())
                                                    : Printable(value.value());
    out += fmt::format("  ${} = {}\n", i + 1, shown);
  }
  return out;
}

std::string DescribeStatement(const v1::Approval& approval) {
  const v1::StatementBinding& binding = approval.binding();
  std::string out = "statement:\n" + PrintableLines(binding.sql(), "  ") + ValuesText(binding);
  out += fmt::format("runs as:   {} on {}/{}, search_path {}{}\n", Printable(binding.role()),
                     Printable(binding.target()), Printable(binding.database()), Printable(binding.search_path()),
                     approval.in_transaction() ? ", inside a transaction: locks are held meanwhile" : "");
  for (const std::string& effect : approval.effects()) out += fmt::format("effect:    {}\n", Printable(effect));
  return out;
}

}  // namespace

std::string_view ApprovalStateName(v1::ApprovalState state) {
  switch (state) {
    case v1::APPROVAL_PENDING:
      return "pending";
    case v1::APPROVAL_APPROVED:
      return "approved";
    case v1::APPROVAL_DENIED:
      return "denied";
    case v1::APPROVAL_EXPIRED:
      return "expired";
    case v1::APPROVAL_CANCELLED:
      return "cancelled";
    case v1::APPROVAL_USED:
      return "used";
    default:
      return "unknown";
  }
}

std::string DescribeApproval(const v1::Approval& approval) {
  const bool statement = approval.kind() == v1::APPROVAL_KIND_STATEMENT;
  std::string out = fmt::format("{}  {}  ({})\n", approval.id(), ApprovalStateName(approval.state()),
                                statement ? "one statement" : "a token");
  out += fmt::format("agent:     {}{}\n", Printable(approval.agent()),
                     approval.on_behalf_of().empty() ? "" : " on behalf of " + Printable(approval.on_behalf_of()));
  out += fmt::format("reason:    {}\n", Printable(approval.reason()));
  out += fmt::format("grant:     {}  from {}\n", approval.grant_id(),
                     approval.client_address().empty() ? "-" : Printable(approval.client_address()));
  if (statement) {
    out += DescribeStatement(approval);
  } else {
    out += fmt::format("asks for:  {} on {}/{} for {}s, objects: {}\n", fmt::join(approval.requested_do(), ", "),
                       Printable(approval.target()), Printable(approval.database()), approval.requested_ttl_seconds(),
                       approval.requested_objects().empty()
                           ? "all that policy grants"
                           : Printable(fmt::format("{}", fmt::join(approval.requested_objects(), ", "))));
  }
  out += fmt::format("rule:      {}{}\n", Printable(approval.rule()),
                     approval.rule_message().empty() ? "" : ": " + Printable(approval.rule_message()));
  out += fmt::format("needs:     {} of {}\n", approval.approvals_needed(), fmt::join(approval.approver_groups(), ", "));
  for (const v1::Vote& vote : approval.votes()) {
    out +=
        fmt::format("vote:      {} {}{} at {}\n", Printable(vote.principal()), vote.approve() ? "approved" : "denied",
                    vote.comment().empty() ? "" : " (" + Printable(vote.comment()) + ")", FormatTime(vote.time()));
  }
  out += fmt::format("asked:     {}, undecided it expires {}\n", FormatTime(approval.create_time()),
                     FormatTime(approval.request_expire_time()));
  if (approval.has_use_expire_time()) {
    out += fmt::format("usable:    until {}\n", FormatTime(approval.use_expire_time()));
  }
  if (approval.has_use_time()) out += fmt::format("used:      {}\n", FormatTime(approval.use_time()));
  return out;
}

std::string SummariseApproval(const v1::Approval& approval) {
  const std::string what =
      approval.kind() == v1::APPROVAL_KIND_STATEMENT
          ? Clip(Printable(approval.binding().sql()), 80)
          : fmt::format("token for {} on {}", fmt::join(approval.requested_do(), ","), Printable(approval.target()));
  return fmt::format("{}  {:<9}  {}  {}", approval.id(), ApprovalStateName(approval.state()),
                     Printable(approval.agent()), what);
}

std::string ApprovalJson(const v1::Approval& approval) {
  auto json = nlohmann::ordered_json::parse(ToJson(approval), nullptr, false);
  if (approval.has_binding()) json["statement"] = approval.binding().sql();
  return json.dump(-1, ' ', false, nlohmann::json::error_handler_t::replace);
}

}  // namespace postern::cli
