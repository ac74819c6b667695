export type { LoraOptions, LoraRecord } from './adapter.js'
export type { ModelFacts } from './binding.js'
export type { Branch, BranchStatus, FinishReason, Score } from './branch.js'
export { type CalibrateOptions, calibrate } from './calibrate.js'
export { type Calibrated, type Placement, readCalibration, writeCalibration } from './calibrated.js'
export type { Calibration, SettingChoice, SettingTrial } from './calibration.js'
export { at, type Checkpoints, doubling, every } from './checkpoint.js'
export type { Contender, ShapedContender } from './contender.js'
export { type DownloadOptions, download } from './download.js'
export { embedded } from './embedded.js'
export { type Engine, open } from './engine.js'
export { type Code, WinnowError } from './errors.js'
export type { FinalChoice, Ranked } from './final-choice.js'
export type { Forecast } from './forecast.js'
export { type ExtractedHead, type ExtractOptions, extractHead } from './heads/extract.js'
export { type HeadContent, type HeadFeature, type HeadLayer, writeHeadFile } from './heads/file.js'
export type { Conditions } from './journal.js'
export { type Judge, type Judging, judgeOf } from './judge.js'
export { type RoutineJudgeOptions, routineJudge } from './judges/routine.js'
export { ended, scoreAtLeast, tokensAtMost } from './judges/threshold.js'
export type { Layout } from './layout.js'
export type { MapOptions, MapPrompt, Mapped, Raced, Unraced } from './map.js'
export {
  kendall,
  type PlaceCorrelation,
  PlaceCorrelations,
  pearson,
  type Spread
} from './measures/correlation.js'
export { type BestOfNPoint, equivalentN, speedUp } from './measures/equivalent.js'
export { bestChances, expectedOfBest } from './measures/expected-best.js'
export { improvement, improvementScore, relativeCompute } from './measures/improvement.js'
export { type BestOfNMeasure, PaperMeasures, type PolicyMeasure } from './measures/paper-measures.js'
export { winRate } from './measures/win-rate.js'
export type { Taken } from './memory.js'
export type { BestOfOptions, Logger, OpenOptions, Progress, SamplingOptions } from './options.js'
export { type Pipeline, type PipelineOptions, pipeline } from './pipeline.js'
export type { Plan, PlannedRung } from './plan.js'
export type { PlanOptions } from './planning.js'
export { bestOfN } from './policies/best-of-n.js'
export { type KeepEnoughOptions, keepEnough } from './policies/keep-enough.js'
export { memoryPressure } from './policies/memory-pressure.js'
export { type KillCount, type RandomKillOptions, randomKill } from './policies/random-kill.js'
export { type SafeRejectOptions, safeReject } from './policies/safe-reject.js'
export { type SafeShare, type Safety, type SafetyPlace, type SafetyRule, safeShares } from './policies/safety.js'
export { type SpecRejectOptions, specReject } from './policies/spec-reject.js'
export { type StopOptions, stopWhenDecided } from './policies/stop-when-decided.js'
export type { Decision, Policy, Standing, View } from './policy.js'
export { type PolicyFile, type PolicySettings, readPolicy, readPolicyFile } from './policy-file.js'
export type { ChatMessage, PromptInput } from './prompt.js'
export type { Expected, Result, ResultBranch, Usage } from './result.js'
export { type Reranker, type RerankerOptions, reranker } from './reward/reranker.js'
export { type RewardModel, type RewardModelOptions, rewardModel, type StepOptions } from './reward/reward-model.js'
export type { RaceReason } from './round.js'
export {
  type Candidate,
  type PlainScorer,
  type RaceFacts,
  type ScoreFunction,
  type Scorer,
  type Scoring,
  type ScoringSession,
  type SessionScorer,
  scorerOf
} from './scorer.js'
export { type BlendOptions, blend, type Part } from './scorers/blend.js'
export {
  type BottomOptions,
  bottomGroupConfidence,
  type ConfidenceOptions,
  lowestGroupConfidence,
  meanConfidence,
  selfCertainty,
  tailConfidence,
  type WindowOptions
} from './scorers/confidence.js'
export { rewardHead } from './scorers/head.js'
export { meanLogprob } from './scorers/mean-logprob.js'
export { minLogprob } from './scorers/min-logprob.js'
export { perplexity } from './scorers/perplexity.js'
export { type RoutineScorerOptions, routineScorer } from './scorers/routine.js'
export type { Scale } from './scorers/scale.js'
export type { TokenSignal } from './scorers/token-signal.js'
export type { Choice, Selection } from './selection.js'
export { argmax } from './selections/argmax.js'
export { rankMean } from './selections/rank-mean.js'
export { type SoftOptions, softBestOfN } from './selections/soft-best-of-n.js'
export {
  type BordaVoteOptions,
  bordaVote,
  type Extract,
  majorityVote,
  type VoteOptions,
  type WeightedVoteOptions,
  weightedVote
} from './selections/vote.js'
export { type Best, type Shaper, undecided } from './shaper.js'
export { type Budget, type BudgetLengthOptions, budgetLength, lengthBudget } from './shapers/budget-length.js'
export { type CosineLengthOptions, cosineLength } from './shapers/cosine-length.js'
export { type GroupLengthOptions, groupLength } from './shapers/group-length.js'
export { type LengthPenaltyOptions, lengthPenalty } from './shapers/length-penalty.js'
export { type OverlongPenaltyOptions, overlongPenalty } from './shapers/overlong-penalty.js'
export { type RelativeLengthOptions, relativeLength } from './shapers/relative-length.js'
export { type SigmoidLengthOptions, sigmoidLength } from './shapers/sigmoid-length.js'
export type { Settings } from './timing.js'
export { CostFit, CostModel, type ReplayedSeconds, wallOf } from './traces/cost.js'
export { type Divergence, diverged, noDivergence } from './traces/divergence.js'
export { learnSafety } from './traces/learn-safety.js'
export { type RecordedProblem, type RecordedPrompt, type RecordOptions, record } from './traces/record.js'
export { type Replay, type ReplayedRound, type ReplayOptions, replay } from './traces/replay.js'
export { type RoundSurvival, roundSurvival } from './traces/round-survival.js'
export { finalScore, type Trace, type TracedScorer, type TracedText, type TraceHeader } from './traces/trace.js'
export { openTraces, type Traces } from './traces/trace-file.js'
export type { Work } from './traces/work.js'
export type { TunedPoint, TuningGoal } from './tuning/outcomes.js'
export { type Tuned, type TuneOptions, tune } from './tuning/tune.js'
export { matchesJsonSchema, matchesPattern, multipleChoice, numericAnswer } from './verifiers/bundled.js'
export { type CallOutcome, Crew, type CrewOptions } from './verifiers/crew.js'
export { choiceIn } from './verifiers/multiple-choice.js'
export { numberIn } from './verifiers/numeric.js'
export { type Routine, type RoutineFunction, type RoutineInput, routine } from './verifiers/routine.js'
