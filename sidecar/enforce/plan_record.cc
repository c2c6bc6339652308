#include "sidecar/enforce/plan_record.h"

#include "postern/v1/audit.pb.h"

namespace postern::sidecar {

void AppendJudgement(const Plan& plan, std::string_view decision, std::string_view reason, std::string_view approval_id,
                     audit::RecordWriter* record) {
  using Record = v1::AuditRecord;
  record->Bytes(Record::kFingerprintFieldNumber, plan.fingerprint);
  for (const std::string& effect : plan.effects) record->Message(Record::kEffectsFieldNumber, effect);
  record->Bytes(Record::kDecisionFieldNumber, decision);
  if (plan.decisive < plan.decisions.size()) {
    const policy::Decision& decided = plan.decisions[plan.decisive];
    record->Bytes(Record::kRuleFieldNumber, decided.rule.ToString());
    record->Bytes(Record::kReasonCodeFieldNumber, decided.reason_code);
    if (reason.empty()) reason = decided.reason;
  }
  record->Bytes(Record::kReasonFieldNumber, reason);
  record->Number(Record::kPolicyRevisionFieldNumber, plan.policy_revision);
  record->Bytes(Record::kApprovalIdFieldNumber, approval_id);
  for (const std::string& mask : plan.masks) record->Message(Record::kMasksFieldNumber, mask);
}

}  // namespace postern::sidecar
