#include "controlplane/approval/quorum.h"

#include <algorithm>
#include <vector>

namespace postern::approval {
namespace {

using Votes = google::protobuf::RepeatedPtrField<v1::Vote>;

bool Fits(const v1::Vote& vote, const v1::HoldStep& step) {
  return step.by().empty() || std::any_of(step.by().begin(), step.by().end(), [&](const std::string& group) {
           return std::find(vote.groups().begin(), vote.groups().end(), group) != vote.groups().end();
         });
}

// People to places, by augmenting paths (Kuhn's algorithm): a place takes a person away from another place if that one
// finds somebody else.
class Seating {
 public:
  Seating(const v1::HoldSettings& hold, const Votes& votes) : votes_(votes), seat_of_(votes.size(), -1) {
    for (const v1::HoldStep& step : hold.steps()) places_.insert(places_.end(), step.approvals(), &step);
  }

  bool Full() {
    for (int place = 0; place < static_cast<int>(places_.size()); ++place) {
      std::vector<bool> asked(seat_of_.size(), false);
      if (!Fill(place, asked)) return false;
    }
    return true;
  }

 private:
  bool Fill(int place, std::vector<bool>& asked) {
    for (int person = 0; person < votes_.size(); ++person) {
      const auto at = static_cast<size_t>(person);
      if (asked[at] || !Fits(votes_[person], *places_[static_cast<size_t>(place)])) continue;
      asked[at] = true;
      if (seat_of_[at] >= 0 && !Fill(seat_of_[at], asked)) continue;
      seat_of_[at] = place;
      return true;
    }
    return false;
  }

  const Votes& votes_;
  std::vector<int> seat_of_;
  std::vector<const v1::HoldStep*> places_;
};

}  // namespace

bool StepsFilled(const v1::HoldSettings& hold, const Votes& votes) {
  if (!hold.any_step()) return Seating(hold, votes).Full();
  return std::any_of(hold.steps().begin(), hold.steps().end(), [&](const v1::HoldStep& step) {
    return std::count_if(votes.begin(), votes.end(), [&](const v1::Vote& vote) { return Fits(vote, step); }) >=
           step.approvals();
  });
}

}  // namespace postern::approval
