// Findings of lint: what is wrong with a policy, and where.
#pragma once

#include <string>
#include <utility>
#include <vector>

#include "postern/v1/policy.pb.h"

namespace postern::policy {

// Collects the findings of one document. Not thread-safe.
class FindingSink {
 public:
  FindingSink(std::string path, std::vector<v1::PolicyFinding>* findings) : path_(std::move(path)), out_(findings) {}

  void Error(int line, std::string message);
  void Warning(int line, std::string message);
  int errors() const { return errors_; }
  const std::string& path() const { return path_; }

 private:
  void Add(v1::PolicyFinding::Severity severity, int line, std::string message);
  std::string path_;
  std::vector<v1::PolicyFinding>* out_;
  int errors_ = 0;
};

}  // namespace postern::policy
