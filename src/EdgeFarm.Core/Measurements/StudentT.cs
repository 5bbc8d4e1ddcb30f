namespace EdgeFarm.Core.Measurements;

/// <summary>Student's t distribution.</summary>
internal static class StudentT
{
    /// <summary>The quantile of a probability in (0.5, 1) with so many degrees of freedom, to about ten digits.</summary>
    public static double Quantile(double probability, int freedom)
    {
        double low = 0, high = 2;
        while (Cumulative(high, freedom) < probability)
        {
            high *= 2;
        }

        for (var i = 0; i < 100 && high - low > 1e-12 * high; i++)
        {
            var middle = (low + high) / 2;
            (low, high) = Cumulative(middle, freedom) < probability ? (middle, high) : (low, middle);
        }

        return (low + high) / 2;
    }

    private static double Cumulative(double t, int freedom) => 1 - (Beta(freedom / (freedom + (t * t)), freedom / 2.0, 0.5) / 2);

    /// <summary>The regularized incomplete beta function, by its continued fraction (Abramowitz and Stegun 26.5.8).</summary>
    private static double Beta(double x, double a, double b)
    {
        if (x is <= 0 or >= 1)
        {
            return x <= 0 ? 0 : 1;
        }

        var front = Math.Exp(LogGamma(a + b) - LogGamma(a) - LogGamma(b) + (a * Math.Log(x)) + (b * Math.Log(1 - x)));
        return x < (a + 1) / (a + b + 2) ? front * Fraction(x, a, b) / a : 1 - (front * Fraction(1 - x, b, a) / b);
    }

    private static double Fraction(double x, double a, double b)
    {
        const double tiny = 1e-300;
        var c = 1.0;
        var d = 1 - ((a + b) * x / (a + 1));
        d = 1 / (Math.Abs(d) < tiny ? tiny : d);
        var result = d;
        for (var m = 1; m <= 1000; m++)
        {
            var even = m * (b - m) * x / ((a + (2 * m) - 1) * (a + (2 * m)));
            Step(even);
            var odd = -(a + m) * (a + b + m) * x / ((a + (2 * m)) * (a + (2 * m) + 1));
            if (Math.Abs(Step(odd) - 1) < 1e-15)
            {
                break;
            }
        }

        return result;

        double Step(double coefficient)
        {
            d = 1 + (coefficient * d);
            d = 1 / (Math.Abs(d) < tiny ? tiny : d);
            c = 1 + (coefficient / c);
            c = Math.Abs(c) < tiny ? tiny : c;
            result *= d * c;
            return d * c;
        }
    }

    /// <summary>Logarithm of the gamma function for positive arguments: Stirling's series after raising the argument to 10 or more.</summary>
    private static double LogGamma(double x)
    {
        var shift = 0.0;
        while (x < 10)
        {
            shift += Math.Log(x);
            x++;
        }

        var inverse = 1 / (x * x);
        var series = (1.0 / 12) - (inverse * ((1.0 / 360) - (inverse * ((1.0 / 1260) - (inverse * ((1.0 / 1680) - (inverse / 1188)))))));
        return ((x - 0.5) * Math.Log(x)) - x + (0.5 * Math.Log(2 * Math.PI)) + (series / x) - shift;
    }
}
