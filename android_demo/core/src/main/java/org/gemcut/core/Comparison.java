package org.gemcut.core;

import com.google.gson.JsonElement;
import com.google.gson.JsonObject;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.Collections;
import java.util.List;

/**
 * This phone's run against the exporting machine's: the same figures, tolerances and words as Gemcut's
 * prove.conformance, which says why they are what they are. All in nats.
 */
public final class Comparison {
    private static final double SHARE = 0.5;
    private static final double INDEPENDENT = Math.sqrt(2.0);
    private static final double LOGPROB_FLOOR = 1e-3;
    private static final double KL_FLOOR = 1e-6;
    private static final double REST_FLOOR = 1e-7;
    private static final List<String> FEW_BITS = Arrays.asList("int2", "int3", "int4");

    /** One golden, here against the host. */
    public static final class Difference {
        public final String prompt;

        /** The largest difference of a log-probability among the float model's likeliest ids, and where. */
        public final double maxLogprobDiff;

        public final int position;

        /** Mean KL(host || here) over its positions. */
        public final double kl;

        /** The first step at which the replies differ, -1 where they don't. */
        public final int firstStep;

        /** How much likelier the likelier token was there; not-a-number where that isn't known. */
        public final double margin;

        /** The margin is within the tolerance, or unknown. */
        public final boolean tie;

        Difference(String prompt, double maxLogprobDiff, int position, double kl, int firstStep, double margin,
                boolean tie) {
            this.prompt = prompt;
            this.maxLogprobDiff = maxLogprobDiff;
            this.position = position;
            this.kl = kl;
            this.firstStep = firstStep;
            this.margin = margin;
            this.tie = tie;
        }
    }

    /** How far two machines may differ: a log-probability, and the mean KL. */
    public final double tolerance;

    public final double toleranceKl;

    /** What the tolerance was derived from: the host's bundle against the float model. */
    public final double noise;

    public final double noiseKl;

    public final List<Difference> differences;
    public final double maxLogprobDiff;
    public final double meanKl;

    /** Each real difference, in words; empty where there is none. */
    public final List<String> failures;

    private Comparison(double share, double noise, double noiseKl, Goldens goldens, List<Recorded> here) {
        this.noise = noise;
        this.noiseKl = noiseKl;
        tolerance = Math.max(LOGPROB_FLOOR, share * (finite(noise) ? noise : 0.0));
        toleranceKl = Math.max(KL_FLOOR, share * share * (finite(noiseKl) ? noiseKl : 0.0));
        List<Difference> found = new ArrayList<Difference>();
        double largest = Double.NEGATIVE_INFINITY;
        double sum = 0.0;
        long positions = 0;
        for (int i = 0; i < here.size(); i++) {
            Golden golden = goldens.goldens.get(i);
            Difference one = difference(golden, goldens.host.get(i), here.get(i));
            found.add(one);
            largest = Math.max(largest, one.maxLogprobDiff);
            sum += one.kl * golden.positions();
            positions += golden.positions();
        }
        differences = Collections.unmodifiableList(found);
        maxLogprobDiff = largest;
        meanKl = sum / positions;
        failures = Collections.unmodifiableList(failures());
    }

    /** Whether this phone does what the exporting machine did. */
    public boolean passed() {
        return failures.isEmpty();
    }

    /**
     * Compares.
     *
     * @param here what {@link Replay} gave, in the order of the goldens
     * @throws BundleException it isn't of these goldens; a failed comparison raises nothing
     */
    public static Comparison compare(Goldens goldens, List<Recorded> here) throws BundleException {
        if (here.size() != goldens.goldens.size()) {
            throw BundleException.damaged("the two runs are not of the same goldens");
        }
        double noise = Double.NEGATIVE_INFINITY;
        double kl = 0.0;
        long positions = 0;
        for (int i = 0; i < here.size(); i++) {
            Golden golden = goldens.goldens.get(i);
            requireShape(golden, here.get(i));
            float[][] host = goldens.host.get(i).logprobs;
            for (int row = 0; row < host.length; row++) {
                noise = Math.max(noise, largestDifference(golden.topLogprobs[row], host[row], false));
                kl += klBuckets(golden.topLogprobs[row], host[row]);
                positions++;
            }
        }
        return new Comparison(goldens.manifest.share, noise, kl / positions, goldens, here);
    }

    static void requireShape(Golden golden, Recorded recorded) throws BundleException {
        boolean good = recorded.logprobs.length == golden.positions();
        for (int row = 0; good && row < recorded.logprobs.length; row++) {
            good = recorded.logprobs[row].length == golden.topIds[row].length;
        }
        if (!good || recorded.targetLogprobs.length != golden.positions()
                || recorded.top1.length != golden.positions()) {
            throw BundleException.damaged("the recorded outputs are not those of these goldens");
        }
    }

    /** Of the quantization noise that machines may differ by: more where the roundings of activations are all of it. */
    static double shareOf(JsonObject recipe) throws BundleException {
        boolean rounded = false;
        boolean few = false;
        if (recipe.has("rules")) {
            for (JsonElement rule : Json.array(recipe.get("rules"), "manifest.json: recipe: rules")) {
                JsonObject one = Json.object(rule, "manifest.json: recipe: rules");
                String activation = Json.stringOrNull(one, "activation", "manifest.json: recipe: rules");
                rounded |= activation != null && activation.startsWith("int8");
                few |= FEW_BITS.contains(Json.string(one, "weight", "manifest.json: recipe: rules"));
            }
        }
        return rounded && !few ? INDEPENDENT : SHARE;
    }

    private static boolean finite(double value) {
        return !Double.isNaN(value) && !Double.isInfinite(value);
    }

    /** Infinite where one isn't a number. equalIsZero: two equal infinities differ by nothing. */
    private static double largestDifference(float[] host, float[] here, boolean equalIsZero) {
        double largest = Double.NEGATIVE_INFINITY;
        for (int i = 0; i < host.length; i++) {
            double wide = Math.abs((double) host[i] - here[i]);
            if (equalIsZero && host[i] == here[i]) {
                wide = 0.0;
            }
            largest = Math.max(largest, Double.isNaN(wide) ? Double.POSITIVE_INFINITY : wide);
        }
        return largest;
    }

    /** KL(p || q) over the kept ids and one bucket for the rest (Gemcut's prove.fidelity.kl_buckets). */
    static double klBuckets(float[] p, float[] q) {
        double sumP = 0.0;
        double sumQ = 0.0;
        double total = 0.0;
        for (int i = 0; i < p.length; i++) {
            double share = Math.exp(p[i]);
            sumP += share;
            sumQ += Math.exp(q[i]);
            total += share * ((double) p[i] - q[i]);
        }
        double restP = Math.max(1.0 - sumP, 0.0);
        double restQ = Math.max(1.0 - sumQ, REST_FLOOR);
        if (restP > REST_FLOOR) {
            total += restP * (Math.log(restP) - Math.log(restQ));
        }
        return Double.isNaN(total) ? Double.POSITIVE_INFINITY : Math.max(total, 0.0);
    }

    private Difference difference(Golden golden, Recorded host, Recorded here) {
        double largest = Double.NEGATIVE_INFINITY;
        int worst = 0;
        boolean equal = true;
        double kl = 0.0;
        for (int row = 0; row < host.logprobs.length; row++) {
            double one = largestDifference(host.logprobs[row], here.logprobs[row], true);
            if (one > largest) {
                largest = one;
                worst = row;
            }
            equal &= one == 0.0;
            kl += klBuckets(host.logprobs[row], here.logprobs[row]);
        }
        kl = equal ? 0.0 : kl / host.logprobs.length;
        return parted(golden, host, here, largest, golden.first + worst, kl);
    }

    /** Adds where the replies part, the margin there, and whether it was a tie. */
    private Difference parted(Golden golden, Recorded host, Recorded here, double largest, int position, double kl) {
        int[] ours = here.greedyIds;
        int[] theirs = host.greedyIds;
        int shorter = Math.min(ours.length, theirs.length);
        int step = 0;
        while (step < shorter && ours[step] == theirs[step]) {
            step++;
        }
        double unknown = Double.NaN;
        if (step == shorter) {
            boolean same = ours.length == theirs.length;
            return new Difference(golden.id, largest, position, kl, same ? -1 : step, unknown, same);
        }
        boolean left = step >= golden.greedyIds.length;
        for (int i = 0; i < step && !left; i++) {
            left = theirs[i] != golden.greedyIds[i];
        }
        int row = golden.promptLength - 1 - golden.first + step;
        if (left || row >= golden.positions()) {
            return new Difference(golden.id, largest, position, kl, step, unknown, true);
        }
        double margin = golden.margin[step];
        int ourPlace = placeOf(golden.topIds[row], ours[step]);
        int theirPlace = placeOf(golden.topIds[row], theirs[step]);
        if (ourPlace >= 0 && theirPlace >= 0) {
            float[] logprobs = host.logprobs[row];
            double there = Math.abs(logprobs[theirPlace] - logprobs[ourPlace]);
            margin = there < margin ? there : margin;
        }
        return new Difference(golden.id, largest, position, kl, step, margin, margin <= tolerance);
    }

    private static int placeOf(int[] ids, int id) {
        for (int i = ids.length - 1; i >= 0; i--) {
            if (ids[i] == id) {
                return i;
            }
        }
        return -1;
    }

    private List<String> failures() {
        List<String> found = new ArrayList<String>();
        Difference worst = differences.get(0);
        Difference highest = differences.get(0);
        for (Difference one : differences) {
            worst = one.maxLogprobDiff > worst.maxLogprobDiff ? one : worst;
            highest = one.kl > highest.kl ? one : highest;
        }
        if (!(worst.maxLogprobDiff <= tolerance)) {
            found.add("prompt " + Words.quoted(worst.prompt) + ", position " + worst.position
                    + ": a log-probability differs by " + Words.general(worst.maxLogprobDiff) + " nats, tolerance "
                    + Words.general(tolerance));
        }
        if (!(meanKl <= toleranceKl)) {
            found.add("mean KL " + Words.general(meanKl) + " nats, tolerance " + Words.general(toleranceKl)
                    + " (worst: prompt " + Words.quoted(highest.prompt) + ")");
        }
        for (Difference one : differences) {
            if (one.firstStep >= 0 && !one.tie) {
                String margin = Double.isNaN(one.margin) ? ""
                        : ", where the margin was " + Words.general(one.margin) + " nats";
                found.add("prompt " + Words.quoted(one.prompt) + ": the reply differs from token " + one.firstStep
                        + " on" + margin);
            }
        }
        return found;
    }
}
