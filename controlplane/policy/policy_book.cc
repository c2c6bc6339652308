#include "controlplane/policy/policy_book.h"

#include <utility>

#include "common/base/status_macros.h"

namespace postern::policy {

absl::StatusOr<std::unique_ptr<PolicyBook>> PolicyBook::Open(const PolicyStore& store) {
  std::unique_ptr<PolicyBook> book(new PolicyBook(store));
  POSTERN_RETURN_IF_ERROR(book->Reload());
  return book;
}

std::shared_ptr<const CompiledPolicy> PolicyBook::Current() const {
  absl::MutexLock lock(&mu_);
  return current_;
}

absl::Status PolicyBook::Reload() {
  absl::MutexLock reload(&reload_mu_);
  POSTERN_ASSIGN_OR_RETURN(const v1::PolicyRevision latest, store_.Latest());
  POSTERN_ASSIGN_OR_RETURN(std::shared_ptr<const CompiledPolicy> compiled, CompiledPolicy::Compile(latest.set()));
  absl::MutexLock lock(&mu_);
  current_ = std::move(compiled);
  return absl::OkStatus();
}

}  // namespace postern::policy
