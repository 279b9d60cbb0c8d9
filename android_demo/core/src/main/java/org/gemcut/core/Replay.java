package org.gemcut.core;

import java.util.ArrayList;
import java.util.Arrays;
import java.util.Collections;
import java.util.List;

/**
 * Goldens run again here, as the exporting machine ran them (Gemcut's prove.run): the scored tokens one by one for
 * their log-probabilities, then a greedy reply, equal logits to the lower id.
 */
public final class Replay {
    private static final int SLACK = 16;
    private static final int EXPECTED = 256;

    /** What came out, in the order of the goldens. */
    public final List<Recorded> recorded;

    /** Calls of one token, and the nanoseconds that they took. */
    public final long steps;

    public final long stepNanos;

    Replay(List<Recorded> recorded, long steps, long stepNanos) {
        this.recorded = Collections.unmodifiableList(recorded);
        this.steps = steps;
        this.stepNanos = stepNanos;
    }

    /** Tokens per second, one after the other; 0 where nothing was measured. */
    public double tokensPerSecond() {
        return stepNanos > 0 ? steps * 1e9 / stepNanos : 0.0;
    }

    /** Counts steps and their time, and asks after each whether to go on. */
    private static final class Watch {
        final Runner runner;
        final Progress progress;
        final int total;
        int number;
        String id = "";
        long steps;
        long nanos;

        Watch(Runner runner, Progress progress, int total) {
            this.runner = runner;
            this.progress = progress;
            this.total = total;
        }

        void tell() throws BundleException {
            if (!progress.update(number, total, id)) {
                throw BundleException.stopped();
            }
        }

        float[] step(int token, int position) throws BundleException {
            tell();
            long began = System.nanoTime();
            float[] logits = runner.step(token, position);
            nanos += System.nanoTime() - began;
            steps++;
            return logits;
        }
    }

    /**
     * Runs every golden.
     *
     * @param progress told of goldens; may stop it
     * @throws BundleException the program isn't for these goldens, or failed
     */
    public static Replay run(Goldens goldens, Runner runner, Progress progress) throws BundleException {
        Watch watch = new Watch(runner, progress, goldens.goldens.size());
        int[] stops = goldens.manifest.stopIds();
        List<Recorded> found = new ArrayList<Recorded>();
        for (int number = 0; number < goldens.goldens.size(); number++) {
            Golden golden = goldens.goldens.get(number);
            watch.number = number;
            watch.id = golden.id;
            watch.tell();
            if (golden.ids.length - 1 > runner.context()) {
                throw BundleException.damaged("the golden " + Words.quoted(golden.id) + " has " + golden.ids.length
                        + " tokens; the program's cache holds " + runner.context());
            }
            found.add(one(golden, goldens.host.get(number), watch, stops));
        }
        watch.number = found.size();
        watch.tell();
        return new Replay(found, watch.steps, watch.nanos);
    }

    private static Recorded one(Golden golden, Recorded host, Watch watch, int[] stops) throws BundleException {
        int count = golden.positions();
        float[][] logprobs = new float[count][];
        float[] targets = new float[count];
        int[] top1 = new int[count];
        for (int row = 0; row < count; row++) {
            int at = golden.first + row;
            float[] logits = row == 0
                    ? watch.runner.prefill(Arrays.copyOf(golden.ids, at + 1), 0)
                    : watch.step(golden.ids[at], at);
            requireVocabulary(logits, golden);
            double total = logPartition(logits);
            logprobs[row] = new float[golden.topIds[row].length];
            for (int i = 0; i < logprobs[row].length; i++) {
                logprobs[row][i] = (float) (logits[golden.topIds[row][i]] - total);
            }
            targets[row] = (float) (logits[golden.ids[at + 1]] - total);
            top1[row] = argmax(logits);
        }
        // A reply that its budget cut short on the host is cut at the same place.
        int most = host.ended ? budget(golden, watch.runner.context()) : host.greedyIds.length;
        int[] reply = greedy(golden, watch, most, stops);
        boolean ended = reply.length > 0 && contains(stops, reply[reply.length - 1]);
        return new Recorded(logprobs, targets, top1, reply, textOf(reply, golden, host), ended);
    }

    /**
     * Twice the float model's reply and 16 more where that one stopped, else as many; 256 at least where an answer is
     * expected, which the float model may not have given (Gemcut's prove.run).
     */
    static int budget(Golden golden, int context) {
        int wanted = golden.ended ? 2 * golden.greedyIds.length + SLACK : golden.greedyIds.length;
        int asked = golden.expected ? Math.max(wanted, EXPECTED) : wanted;
        return Math.max(0, Math.min(asked, context - golden.promptLength));
    }

    private static int[] greedy(Golden golden, Watch watch, int most, int[] stops) throws BundleException {
        int[] reply = new int[Math.max(0, most)];
        if (most < 1) {
            return reply;
        }
        float[] logits = watch.runner.prefill(Arrays.copyOf(golden.ids, golden.promptLength), 0);
        for (int count = 1;; count++) {
            int token = argmax(logits);
            reply[count - 1] = token;
            if (contains(stops, token) || count >= most) {
                return Arrays.copyOf(reply, count);
            }
            logits = watch.step(token, golden.promptLength + count - 1);
        }
    }

    /** No tokenizer is needed to know the text of a reply that was given before. */
    private static String textOf(int[] reply, Golden golden, Recorded host) {
        if (Arrays.equals(reply, host.greedyIds)) {
            return host.greedyText;
        }
        return Arrays.equals(reply, golden.greedyIds) ? golden.greedyText : null;
    }

    private static void requireVocabulary(float[] logits, Golden golden) throws BundleException {
        int largest = 0;
        for (int[] row : golden.topIds) {
            largest = Math.max(largest, largestOf(row));
        }
        largest = Math.max(largest, largestOf(golden.ids));
        if (logits.length <= largest) {
            throw BundleException.damaged(
                    "the program gives " + logits.length + " logits; the goldens name token " + largest);
        }
    }

    private static int largestOf(int[] ids) {
        int largest = 0;
        for (int id : ids) {
            largest = Math.max(largest, id);
        }
        return largest;
    }

    private static boolean contains(int[] ids, int id) {
        for (int one : ids) {
            if (one == id) {
                return true;
            }
        }
        return false;
    }

    /** log(sum(exp(logits))) in double; not-a-number stays that. */
    public static double logPartition(float[] logits) {
        double highest = Double.NEGATIVE_INFINITY;
        for (float one : logits) {
            highest = Math.max(highest, one);
        }
        double sum = 0.0;
        for (float one : logits) {
            sum += Math.exp(one - highest);
        }
        return highest + Math.log(sum);
    }

    /** The index of the largest, the first of equals; the first that isn't a number where there is one (as numpy's). */
    public static int argmax(float[] values) {
        int best = 0;
        for (int i = 0; i < values.length; i++) {
            if (Float.isNaN(values[i])) {
                return i;
            }
            if (values[i] > values[best]) {
                best = i;
            }
        }
        return best;
    }
}
