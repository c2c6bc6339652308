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

std::string Field(std::string_view name, std::string_view text) {
  return fmt::format("{:<11}{}\n", fmt::format("{}:", name), text);
}

std::string RiskText(const v1::Approval& approval) {
  std::string out;
  for (int i = 0; i < approval.risks_size(); ++i) {
    out += Field(i == 0 ? "risk" : "",
                 i == 0 ? fmt::format("{}: {}", Printable(approval.risk()), Printable(approval.risks(i)))
                        : Printable(approval.risks(i)));
  }
  return out;
}

std::string DescribeStatement(const v1::Approval& approval) {
  const v1::StatementBinding& binding = approval.binding();
  std::string out = "statement:\n" + PrintableLines(binding.sql(), "  ") + ValuesText(binding);
  out += Field("runs as",
               fmt::format("{} on {}/{}, search_path {}", Printable(binding.role()), Printable(binding.target()),
                           Printable(binding.database()), Printable(binding.search_path())));
  if (approval.in_transaction()) out += Field("", "inside a transaction: its locks are held meanwhile, so decide soon");
  for (const std::string& effect : approval.effects()) out += Field("effect", Printable(effect));
  out += RiskText(approval);
  if (approval.rows_max() > 0) out += Field("limit", fmt::format("{} rows, or it is undone", approval.rows_max()));
  return out;
}

std::string DescribeRequest(const v1::Approval& approval) {
  return Field(
      "asks for",
      fmt::format("{} on {}/{} for {}s, objects: {}", fmt::join(approval.requested_do(), ", "),
                  Printable(approval.target()), Printable(approval.database()), approval.requested_ttl_seconds(),
                  approval.requested_objects().empty()
                      ? "all that policy grants"
                      : Printable(fmt::format("{}", fmt::join(approval.requested_objects(), ", ")))));
}

std::string CellText(const v1::Preview::Cell& cell) {
  if (cell.masked()) return "[masked]";
  return cell.is_null() ? "NULL" : Printable(cell.value());
}

std::string BytesText(int64_t bytes) {
  if (bytes < 10 << 10) return fmt::format("{} B", bytes);
  if (bytes < int64_t{10} << 20) return fmt::format("{} kB", bytes >> 10);
  return fmt::format("{} MB", bytes >> 20);
}

std::string RelationText(const v1::Preview::Relation& relation) {
  const std::string size =
      relation.estimated_rows() < 0 ? "never analysed" : fmt::format("about {} rows", relation.estimated_rows());
  std::string out = fmt::format("  {}: {}, {}; takes {}{}\n", Printable(relation.name()), size,
                                BytesText(relation.bytes()), relation.lock(),
                                relation.conflicting_sessions() == 0
                                    ? std::string()
                                    : fmt::format(", and would wait for {} sessions", relation.conflicting_sessions()));
  for (const std::string& trigger : relation.triggers()) out += fmt::format("    trigger {}\n", Printable(trigger));
  for (const std::string& cascade : relation.cascades()) {
    out += fmt::format("    referenced by {}\n", Printable(cascade));
  }
  return out;
}

std::string DescribePreview(const v1::Preview& preview) {
  std::string out = fmt::format("looked up {}, without running it:\n", FormatTime(preview.read_time()));
  for (const v1::Preview::Relation& relation : preview.relations()) out += RelationText(relation);
  if (preview.exact_rows() >= 0) out += fmt::format("  meets {} rows, counted\n", preview.exact_rows());
  if (preview.estimated_rows() >= 0)
    out += fmt::format("  meets {} rows, as the planner guesses\n", preview.estimated_rows());
  for (const std::string& line : preview.plan()) out += fmt::format("    {}\n", Printable(line));
  for (const v1::Preview::Row& row : preview.rows()) {
    std::string cells;
    for (int i = 0; i < row.cells_size() && i < preview.columns_size(); ++i) {
      cells += fmt::format("{}{}={}", i == 0 ? "" : ", ", Printable(preview.columns(i)), CellText(row.cells(i)));
    }
    out += fmt::format("  now: {}\n", cells);
  }
  for (const std::string& note : preview.notes()) out += fmt::format("  note: {}\n", Printable(note));
  return out;
}

std::string NeedsText(const v1::Approval& approval) {
  const v1::HoldSettings& hold = approval.hold();
  if (hold.steps().empty()) {
    return fmt::format("{} of {}", approval.approvals_needed(),
                       Printable(fmt::format("{}", fmt::join(approval.approver_groups(), ", "))));
  }
  std::vector<std::string> steps;
  for (const v1::HoldStep& step : hold.steps()) {
    steps.push_back(
        fmt::format("{} of {}", step.approvals(), Printable(fmt::format("{}", fmt::join(step.by(), ", ")))));
  }
  return fmt::format("{}", fmt::join(steps, hold.any_step() ? " or " : " and "));
}

std::string DescribeVotes(const v1::Approval& approval) {
  std::string out;
  for (const v1::Vote& vote : approval.votes()) {
    out += Field("vote", fmt::format("{}{} {}{}{} at {}", Printable(vote.principal()),
                                     vote.on_behalf_of().empty() ? "" : " for " + Printable(vote.on_behalf_of()),
                                     vote.approve() ? "approved" : "denied", vote.has_template_() ? " the shape" : "",
                                     vote.comment().empty() ? "" : " (" + Printable(vote.comment()) + ")",
                                     FormatTime(vote.time())));
  }
  if (approval.has_broken_glass()) {
    const v1::BrokenGlass& glass = approval.broken_glass();
    out += Field("GLASS", fmt::format("broken by {}: {}", Printable(glass.by()), Printable(glass.comment())));
    out += Field("", glass.has_review_time()
                         ? fmt::format("{} said {}: {}", glass.review_ok() ? "justified," : "NOT justified,",
                                       Printable(glass.reviewed_by()), Printable(glass.review_comment()))
                         : fmt::format("review owed until {}{}", FormatTime(glass.review_due_time()),
                                       glass.overdue() ? ": OVERDUE" : ""));
  }
  return out;
}

// The three clocks: request, use, run.
std::string DescribeClocks(const v1::Approval& approval) {
  std::string out = Field("asked", fmt::format("{}; undecided it expires {}", FormatTime(approval.create_time()),
                                               FormatTime(approval.request_expire_time())));
  out += Field("usable", approval.has_use_expire_time()
                             ? fmt::format("until {}", FormatTime(approval.use_expire_time()))
                             : fmt::format("for {}s once it is approved", approval.use_within_seconds()));
  if (approval.has_use_time()) out += Field("used", FormatTime(approval.use_time()));
  if (const int64_t run = approval.hold().run_within_seconds(); run > 0) {
    out += Field("may run", approval.has_run_expire_time()
                                ? fmt::format("until {}", FormatTime(approval.run_expire_time()))
                                : fmt::format("for {}s once it starts", run));
  }
  return out;
}

std::string DescribeExtras(const v1::Approval& approval) {
  std::string out;
  if (!approval.freeze().empty()) {
    out +=
        Field("FREEZE", fmt::format("{}; until {}", Printable(approval.freeze()), FormatTime(approval.freeze_until())));
  }
  if (approval.hold().has_template_() && approval.shape().template_able()) {
    out += Field("template",
                 fmt::format("its shape may be approved for up to {} rows each, for up to {}s",
                             approval.hold().template_().rows_max(), approval.hold().template_().for_seconds()));
  }
  if (!approval.template_id().empty()) out += Field("by", fmt::format("template {}", approval.template_id()));
  if (!approval.hold().break_glass().empty()) {
    out += Field("alone", fmt::format("{} may release it with break-glass",
                                      Printable(fmt::format("{}", fmt::join(approval.hold().break_glass(), ", ")))));
  }
  for (const v1::EarlierApproval& earlier : approval.earlier()) {
    out += Field("before", fmt::format("{} {} for {} on {}; {}", earlier.id(), ApprovalStateName(earlier.state()),
                                       Printable(earlier.agent()), FormatTime(earlier.create_time()),
                                       Printable(fmt::format("{}", fmt::join(earlier.decisions(), "; ")))));
  }
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
  out += Field("agent",
               Printable(approval.agent()) +
                   (approval.on_behalf_of().empty() ? "" : " on behalf of " + Printable(approval.on_behalf_of())));
  out += Field("reason", Printable(approval.reason()));
  out += Field("grant", fmt::format("{}  from {}", approval.grant_id(),
                                    approval.client_address().empty() ? "-" : Printable(approval.client_address())));
  out += statement ? DescribeStatement(approval) : DescribeRequest(approval);
  if (approval.has_preview()) out += DescribePreview(approval.preview());
  out += Field("rule", Printable(approval.rule()) +
                           (approval.rule_message().empty() ? "" : ": " + Printable(approval.rule_message())));
  out += Field("needs", NeedsText(approval));
  out += DescribeVotes(approval);
  out += DescribeExtras(approval);
  return out + DescribeClocks(approval);
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
