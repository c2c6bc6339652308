// Statements that wait for people. While one waits, nothing of its message has gone upstream.
#include "sidecar/session/relay_hold.h"

#include "common/base/errors.h"
#include "common/base/ids.h"
#include "common/base/strings.h"
#include "common/base/timestamps.h"
#include "fmt/format.h"
#include "fmt/ranges.h"
#include "sidecar/session/hold_facts.h"
#include "sidecar/session/relay.h"
#include "sidecar/session/startup_parameters.h"
#include "sidecar/wire/build.h"

namespace postern::session {

using reactor::Task;

namespace {

// How often a wait looks whether the control plane is still there and the request still open. Decisions come as events.
constexpr absl::Duration kWatchInterval = absl::Seconds(1);

wire::ErrorFields Unreachable(std::string_view detail) {
  return PosternError("57P03", "the control plane cannot be reached, so nobody can approve this statement", detail,
                      "Nothing was executed. Try again later.");
}

// What a statement of a rule with `mode: return` is answered while nobody has decided.
wire::ErrorFields Asked(const std::vector<Relay::AskedFor>& asked) {
  std::vector<std::string> ids;
  absl::Time until = absl::InfiniteFuture();
  for (const Relay::AskedFor& one : asked) {
    ids.push_back(one.id);
    until = std::min(until, one.until);
  }
  return PosternError(
      "55000", fmt::format("waiting for approval {}", fmt::join(ids, ", ")),
      fmt::format("Nothing was executed. It can be decided until {}.",
                  StdView(absl::FormatTime(absl::RFC3339_sec, until, absl::UTCTimeZone()))),
      "Send exactly the same statement again, with the same token, once it is approved: it finds its approval. "
      "`postern approval show` says how it stands.");
}

std::string Comments(const v1::Approval& approval) {
  std::string text;
  for (const v1::Vote& vote : approval.votes()) {
    if (!text.empty()) text += "; ";
    text += fmt::format("{} {}", vote.principal(), vote.approve() ? "approved" : "denied");
    if (!vote.comment().empty()) text += fmt::format(": {}", vote.comment());
  }
  return text;
}

wire::ErrorFields NotApproved(const v1::Approval& approval) {
  switch (approval.state()) {
    case v1::APPROVAL_DENIED:
      return PosternError("42501", fmt::format("denied: approval {} was refused", approval.id()), Comments(approval),
                          "Do not repeat the statement unchanged; read the approver's comment.");
    case v1::APPROVAL_CANCELLED:
      return PosternError("42501", fmt::format("approval {} was withdrawn", approval.id()), Comments(approval),
                          "Send the statement again to ask again.");
    default:
      return PosternError("42501", fmt::format("approval {} expired before the statement could run", approval.id()),
                          Comments(approval), "Send the statement again to ask again.");
  }
}

// What one wait hears, from whichever thread; everything but the posting happens on the session's loop.
struct Inbox {
  explicit Inbox(reactor::EventLoop& on) : loop(on), event(on) {}
  reactor::EventLoop& loop;
  reactor::Event event;
  std::optional<absl::StatusOr<v1::Approval>> answer;
  std::optional<v1::Approval> news;
  bool cancelled = false;
  bool gone = false;  // client disconnected or session ended
  // Nobody waits any more: an approval that is opened late must be withdrawn.
  bool abandoned = false;
};

template <typename Request, typename Call>
void Ask(std::shared_ptr<Inbox> inbox, sidecar::Uplink& uplink, const Request& request, Call call, bool withdraw_late) {
  inbox->answer.reset();
  (uplink.*call)(request, [inbox, &uplink, withdraw_late](absl::StatusOr<v1::Approval> answer) {
    inbox->loop.Post([inbox, &uplink, withdraw_late, answer = std::move(answer)] {
      if (inbox->abandoned && withdraw_late && answer.ok()) {
        v1::WithdrawApprovalRequest withdraw;
        withdraw.set_id(answer->id());
        withdraw.set_session_id(answer->session_id());
        withdraw.set_reason("client disconnected");
        uplink.WithdrawApproval(withdraw);
      }
      inbox->answer = answer;
      inbox->event.Set();
    });
  });
}

}  // namespace

v1::RequestStatementApprovalRequest Relay::ApprovalRequest(const Held& held) {
  const sidecar::Plan& plan = *held.execution->plan;
  const policy::Decision& decision = plan.decisions[plan.decisive];
  v1::RequestStatementApprovalRequest request;
  v1::StatementBinding* binding = request.mutable_binding();
  binding->set_sql(held.sql);
  if (held.portal != nullptr) {
    const std::vector<int16_t>& formats = held.portal->value_formats;
    for (size_t i = 0; i < held.portal->values.size(); ++i) {
      v1::BindValue* value = binding->add_values();
      if (held.portal->values[i].has_value()) {
        value->set_value(*held.portal->values[i]);
      } else {
        value->set_is_null(true);
      }
      value->set_format(formats.empty() ? 0 : formats.size() == 1 ? formats[0] : formats[i]);
    }
    for (const uint32_t type : held.portal->prepared->parameter_types) binding->add_parameter_types(type);
  }
  binding->set_target(info_.claims.target);
  binding->set_database(info_.database);
  binding->set_role(info_.role);
  binding->set_search_path(SearchPathText());
  for (const std::string& setting : state_.MeaningfulSettings()) binding->add_settings(setting);
  binding->set_agent(info_.claims.agent);
  binding->set_grant_id(info_.claims.grant_id);
  binding->set_policy_revision(plan.policy_revision);

  for (const std::string& effect : plan.effects) request.add_effects(effect);
  request.set_rule(decision.rule.ToString());
  request.set_rule_message(decision.rule.message);
  for (const std::string& group : decision.hold.groups) request.add_approver_groups(group);
  request.set_approvals_needed(decision.hold.approvals);
  request.set_request_ttl_seconds(decision.hold.request_ttl_seconds);
  request.set_use_within_seconds(decision.hold.use_within_seconds);
  request.set_session_id(info_.id);
  request.set_client_address(info_.client_address);
  request.set_in_transaction(state_.transaction_status() == 'T');
  *request.mutable_hold() = held.terms();
  *request.mutable_shape() = ShapeForApproval(plan, held.sql, held.alone);
  const Risks risks = RisksOf(plan);
  request.set_risk(risks.level);
  for (const std::string& risk : risks.reasons) request.add_risks(risk);
  request.set_request_id(NewUuid(services_.random));
  return request;
}

void Relay::Withdraw(const Held& held, std::string_view reason, absl::Duration after) {
  if (held.approval.id().empty() || held.claimed) return;
  v1::WithdrawApprovalRequest request;
  request.set_id(held.approval.id());
  request.set_session_id(info_.id);
  request.set_reason(std::string(reason));
  if (after <= absl::ZeroDuration()) {
    services_.uplink.WithdrawApproval(request);
    audit_.Hold(*held.execution, held.approval, "withdrawn");
    return;
  }
  // The session is over by then. Without the sidecar, the request ends at its own expiry.
  loop_.After(after, [&uplink = services_.uplink, request] { uplink.WithdrawApproval(request); });
  audit_.Hold(*held.execution, held.approval, "left open");
}

Task<Relay::HoldResult> Relay::Hold(std::vector<Held> held) {
  HoldResult result;
  std::vector<AskedFor> asked;
  for (Held& one : held) {
    result = co_await HoldOne(&one);
    if (result.outcome == HoldResult::Outcome::kAsked) {
      asked.push_back({one.approval.id(), FromTimestamp(one.approval.request_expire_time())});
    } else if (result.outcome != HoldResult::Outcome::kReleased) {
      break;
    }
  }
  if (!asked.empty() && result.outcome != HoldResult::Outcome::kDenied) {
    result = HoldResult{.denial = Share(Asked(asked))};
  }
  // Nothing is claimed before everything is approved: a claim is spent even when the rest is refused.
  if (result.outcome == HoldResult::Outcome::kReleased) {
    const auto control = services_.uplink.state();
    for (const Held& one : held) {
      if (one.execution->plan->policy_revision != control->policy_revision ||
          one.execution->plan->catalog_generation != info_.enforcer->catalog_generation()) {
        result.outcome = HoldResult::Outcome::kJudgeAgain;
      }
    }
  }
  std::vector<std::string> ids;
  if (result.outcome == HoldResult::Outcome::kReleased) {
    for (Held& one : held) {
      result = co_await ClaimOne(&one);
      if (result.outcome != HoldResult::Outcome::kReleased) break;
      ids.push_back(one.approval.id());
    }
  }
  if (result.outcome == HoldResult::Outcome::kReleased) {
    result.approval_ids = std::move(ids);
    for (const Held& one : held) {
      const int64_t run = one.terms().run_within_seconds();
      if (run > 0) result.run_within = std::min(result.run_within, absl::Seconds(run));
      if (one.approval.rows_max() > 0) result.rows_max = one.approval.rows_max();
    }
    co_return result;
  }
  const bool left = ended_ && end_reason_ == "client";
  for (const Held& one : held) {
    if (one.returns() && result.outcome != HoldResult::Outcome::kJudgeAgain) continue;
    if (left) {
      Withdraw(one, "client disconnected", absl::Seconds(info_.terms.on_disconnect_seconds));
    } else {
      Withdraw(one, result.outcome == HoldResult::Outcome::kJudgeAgain ? "policy or schema changed" : "not executed");
    }
  }
  co_return result;
}

void Relay::TellHeld(const v1::Approval& approval) {
  const absl::Time until = FromTimestamp(approval.request_expire_time());
  wire::AppendNotice(
      {.severity = "NOTICE",
       .sqlstate = "01000",
       .message = fmt::format("postern: held for approval {}", approval.id()),
       .detail = approval.in_transaction()
                     ? fmt::format("It is inside a transaction, whose locks are held meanwhile: it is decided until {} "
                                   "or not at all.",
                                   StdView(absl::FormatTime(absl::RFC3339_sec, until, absl::UTCTimeZone())))
                     : std::string(),
       .hint = fmt::format("An approver runs: postern approval show {0}; postern approval approve {0}", approval.id())},
      &client_.out());
  client_.Flush();
}

void Relay::AskForPreview(const Held& held) {
  const v1::PreviewSettings& settings = held.terms().preview();
  // Who joins finds what was looked up for the one before; what is decided already needs none.
  const bool first = held.approval.session_id() == info_.id && held.approval.state() == v1::APPROVAL_PENDING;
  if (!first || settings.show().empty() || settings.show() == "none") return;
  std::optional<sidecar::ConnectionParameters> parameters =
      services_.catalogs.Parameters(info_.claims.target, info_.database);
  if (!parameters.has_value()) return;
  preview::Question question{.sql = held.sql,
                             .plan = held.execution->plan,
                             .search_path_text = SearchPathText(),
                             .search_path = state_.search_path,
                             .role = info_.role,
                             .catalog = info_.enforcer->catalog(),
                             .masked = held.execution->origins,
                             .settings = settings};
  if (held.portal != nullptr) {
    const std::vector<int16_t>& formats = held.portal->value_formats;
    question.values = held.portal->values;
    for (size_t i = 0; i < question.values.size(); ++i) {
      question.formats.push_back(formats.empty() ? 0 : formats.size() == 1 ? formats[0] : formats[i]);
    }
    question.types = held.portal->prepared->parameter_types;
  }
  v1::AttachPreviewRequest request;
  request.set_id(held.approval.id());
  request.set_session_id(info_.id);
  services_.previews.Ask(*std::move(parameters), std::move(question),
                         [&uplink = services_.uplink, request](v1::Preview preview) mutable {
                           *request.mutable_preview() = std::move(preview);
                           uplink.AttachPreview(request);
                         });
}

void Relay::StartRunClock(absl::Duration limit, const std::shared_ptr<Execution>& execution) {
  if (limit == absl::InfiniteDuration()) return;
  loop_.After(limit, [this, life = std::weak_ptr<char>(life_), running = std::weak_ptr<Execution>(execution)] {
    const std::shared_ptr<Execution> still = running.lock();
    if (life.expired() || still == nullptr || still->finished || ended_) return;
    still->run_expired = true;
    Cancel();
  });
}

const v1::HoldSettings& Relay::Held::terms() const {
  const auto& settings = execution->plan->decisions[execution->plan->decisive].hold.settings;
  return settings == nullptr ? v1::HoldSettings::default_instance() : *settings;
}

Task<Relay::HoldResult> Relay::HoldOne(Held* held) {
  if (!services_.uplink.connected()) co_return HoldResult{.denial = Share(Unreachable(""))};
  auto inbox = std::make_shared<Inbox>(loop_);
  interrupt_hold_ = [inbox](bool cancelled) {
    (cancelled ? inbox->cancelled : inbox->gone) = true;
    inbox->event.Set();
  };
  if (client_.hung_up()) inbox->gone = true;
  const absl::Duration connected_at_start = services_.clock.Monotonic();
  absl::Duration last_connected = connected_at_start;
  uint64_t watch = 0;
  reactor::EventLoop::TimerId timer{};
  Ask(inbox, services_.uplink, ApprovalRequest(*held), &sidecar::Uplink::RequestApproval,
      /*withdraw_late=*/!held->returns());

  HoldResult result;
  bool decided = false;
  while (!decided) {
    timer = loop_.After(kWatchInterval, [inbox] { inbox->event.Set(); });
    co_await inbox->event.Wait();
    loop_.CancelTimer(timer);
    if (services_.uplink.connected()) last_connected = services_.clock.Monotonic();

    if (inbox->answer.has_value() && held->approval.id().empty()) {
      if (!inbox->answer->ok()) {
        const absl::Status status = inbox->answer->status();
        result.denial =
            Share(absl::IsUnavailable(status) ? Unreachable(std::string(status.message()))
                                              : PosternError("42501", "no approval could be asked for",
                                                             std::string(status.message()), DetailsOf(status).hint));
        break;
      }
      held->approval = **inbox->answer;
      inbox->news = held->approval;
      AskForPreview(*held);
      if (held->returns() && held->approval.state() == v1::APPROVAL_PENDING) {
        audit_.Hold(*held->execution, held->approval, "asked");
        result.outcome = HoldResult::Outcome::kAsked;
        break;
      }
      audit_.Hold(*held->execution, held->approval, "held");
      // One that is decided already, by a template or before it was sent again, is not waited for.
      if (held->approval.state() == v1::APPROVAL_PENDING) TellHeld(held->approval);
      watch = services_.approvals.Watch(held->approval.id(), [inbox](const v1::Approval& approval) {
        inbox->loop.Post([inbox, approval] {
          inbox->news = approval;
          inbox->event.Set();
        });
      });
    }
    if (inbox->news.has_value()) {
      held->approval = *std::exchange(inbox->news, std::nullopt);
      if (held->approval.state() == v1::APPROVAL_APPROVED) {
        result.outcome = HoldResult::Outcome::kReleased;
        decided = true;
      } else if (held->approval.state() != v1::APPROVAL_PENDING) {
        result.denial = Share(NotApproved(held->approval));
        decided = true;
      }
      if (decided) audit_.Hold(*held->execution, held->approval, v1::ApprovalState_Name(held->approval.state()));
    }
    if (inbox->gone || ended_) {
      result.outcome = HoldResult::Outcome::kDenied;
      result.denial = Share(PosternError("57014", "client disconnected while its statement was held", "", ""));
      if (!ended_) End({.reason = "client"});
      decided = true;
    } else if (inbox->cancelled) {
      result.outcome = HoldResult::Outcome::kDenied;
      result.denial = Share({.severity = "ERROR",
                             .sqlstate = "57014",
                             .message = "canceling statement due to user request",
                             .detail = "postern: it was held for approval, and nothing of it was executed."});
      decided = true;
    } else if (!decided && services_.clock.Monotonic() - last_connected > services_.limits.hold_outage) {
      result.denial = Share(Unreachable("It went away while the statement was held."));
      decided = true;
    } else if (!decided && held->approval.has_request_expire_time() &&
               FromTimestamp(held->approval.request_expire_time()) + absl::Seconds(5) < services_.clock.Now()) {
      // The control plane says so itself; this is for when its word is lost.
      held->approval.set_state(v1::APPROVAL_EXPIRED);
      result.denial = Share(NotApproved(held->approval));
      decided = true;
    }
  }
  if (watch != 0) services_.approvals.Unwatch(watch);
  inbox->abandoned = true;
  interrupt_hold_ = nullptr;
  co_return result;
}

Task<Relay::HoldResult> Relay::ClaimOne(Held* held) {
  auto inbox = std::make_shared<Inbox>(loop_);
  v1::ClaimApprovalRequest request;
  request.set_id(held->approval.id());
  request.set_binding_digest(held->approval.binding_digest());
  request.set_session_id(info_.id);
  Ask(inbox, services_.uplink, request, &sidecar::Uplink::ClaimApproval, /*withdraw_late=*/false);
  // Not interruptible: once asked, the approval may be spent, and the answer alone says whether.
  while (!inbox->answer.has_value()) co_await inbox->event.Wait();
  HoldResult result;
  if (!inbox->answer->ok()) {
    const absl::Status status = inbox->answer->status();
    result.denial = Share(absl::IsUnavailable(status)
                              ? Unreachable(std::string(status.message()))
                              : PosternError("42501", fmt::format("approval {} cannot be used", held->approval.id()),
                                             std::string(status.message()), "Send the statement again to ask again."));
    co_return result;
  }
  held->claimed = true;
  held->approval = **inbox->answer;
  audit_.Hold(*held->execution, held->approval, "claimed");
  if (services_.uplink.state()->policy_revision != held->execution->plan->policy_revision) {
    result.denial = Share(PosternError("42501", "policy changed while the statement was being released",
                                       fmt::format("Approval {} was for the policy before.", held->approval.id()),
                                       "Send the statement again to ask again."));
    co_return result;
  }
  result.outcome = HoldResult::Outcome::kReleased;
  co_return result;
}

}  // namespace postern::session
