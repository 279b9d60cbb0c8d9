package org.gemcut.core;

/** Told how far a long piece of work is. */
public interface Progress {
    /** Watches nothing and stops nothing. */
    Progress NONE = new Progress() {
        @Override
        public boolean update(long done, long total, String what) {
            return true;
        }
    };

    /**
     * Called often, on the thread that works.
     *
     * @param done of total, in the same unit (bytes, goldens)
     * @param what the file or prompt at hand
     * @return false to stop: the work then ends with {@link BundleException.Kind#STOPPED}
     */
    boolean update(long done, long total, String what);
}
