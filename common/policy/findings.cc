#include "common/policy/findings.h"

namespace postern::policy {

void FindingSink::Add(v1::PolicyFinding::Severity severity, int line, std::string message) {
  v1::PolicyFinding finding;
  finding.set_severity(severity);
  finding.set_path(path_);
  finding.set_line(line);
  finding.set_message(std::move(message));
  out_->push_back(std::move(finding));
}

void FindingSink::Error(int line, std::string message) {
  ++errors_;
  Add(v1::PolicyFinding::ERROR, line, std::move(message));
}

void FindingSink::Warning(int line, std::string message) { Add(v1::PolicyFinding::WARNING, line, std::move(message)); }

}  // namespace postern::policy
